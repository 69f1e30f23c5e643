#include "net/proxy_head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

struct sample {
    struct text bytes;
    const char *source;
};

#define SAMPLE(bytes, source)                                                                      \
    {                                                                                              \
        {(bytes), sizeof(bytes) - 1}, (source)                                                     \
    }

static const struct sample good[] = {
    SAMPLE("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", "192.0.2.1:56324"),
    SAMPLE("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535"),
    SAMPLE("PROXY TCP4 1.2.3.4 5.6.7.8 0 0\r\n", "1.2.3.4"),
    SAMPLE("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "[2001:db8::1]:1"),
    SAMPLE("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
           "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
    SAMPLE("PROXY TCP6 ::ffff:1.2.3.4 ::1 9 2\r\n", "1.2.3.4:9"),
    SAMPLE("PROXY UNKNOWN\r\n", "unknown"),
    SAMPLE("PROXY UNKNOWN ffff:: what ever 1 2\r\n", "unknown"),
    SAMPLE(SIGNATURE "\x20\x00\x00\x00", "unknown"),
    SAMPLE(SIGNATURE "\x20\x11\x00\x0c\1\2\3\4\5\6\7\x8\0\x50\1\xbb", "unknown"),
    SAMPLE(SIGNATURE "\x20\x99\x00\x01-", "unknown"), /* LOCAL: its family is nobody's business */
    SAMPLE(SIGNATURE "\x21\x00\x00\x00", "unknown"),
    SAMPLE(SIGNATURE "\x21\x00\x00\x03\4\0\0", "unknown"),
    SAMPLE(SIGNATURE "\x21\x11\x00\x0c\1\2\3\4\5\6\7\x8\0\x50\1\xbb", "1.2.3.4:80"),
    SAMPLE(SIGNATURE "\x21\x12\x00\x0c\1\2\3\4\5\6\7\x8\0\x50\1\xbb", "1.2.3.4:80"),
    SAMPLE(SIGNATURE "\x21\x11\x00\x10\1\2\3\4\5\6\7\x8\xff\xff\1\xbb\4\0\1x", "1.2.3.4:65535"),
    SAMPLE(SIGNATURE "\x21\x21\x00\x24"
                     "\x20\x01\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
                     "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x1f\x90\0\1",
        "[2001:db8::1]:8080"),
};

static enum proxy_result read_exactly(
    const char *bytes, size_t len, struct endpoint *source, size_t *used)
{
    char *copy = malloc(len ? len : 1); /* so that a sanitizer sees a look behind it */
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    enum proxy_result result = proxy_head_read(source, copy, len, used);
    free(copy);
    return result;
}

/* Seen to fail with the source and the destination exchanged, and with 'used' one less. */
static void a_header_is_read_however_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        const struct sample *s = &good[i];
        struct endpoint source;
        char out[ENDPOINT_TEXT_MAX], more[512];
        size_t used = 0;
        for (size_t len = 0; len < s->bytes.len; len++)
            if (read_exactly(s->bytes.at, len, &source, &used) != PROXY_MORE)
                fail_msg("sample %zu cut to %zu bytes", i, len);
        assert_int_equal(read_exactly(s->bytes.at, s->bytes.len, &source, &used), PROXY_DONE);
        assert_int_equal(used, s->bytes.len);
        assert_string_equal(endpoint_text(&source, out), s->source);
        memcpy(more, s->bytes.at, s->bytes.len);
        memcpy(more + s->bytes.len, "\r\nGET /", 7);
        assert_int_equal(read_exactly(more, s->bytes.len + 7, &source, &used), PROXY_DONE);
        assert_int_equal(used, s->bytes.len);
        assert_string_equal(endpoint_text(&source, out), s->source);
    }
}

/* Each with the number of bytes that show it. */
static void what_is_no_header_is_refused_with_the_byte_that_shows_it(void **state)
{
    (void)state;
    static const struct {
        struct text bytes;
        size_t enough;
    } bad[] = {
#define BAD(enough, bytes) {{(bytes), sizeof(bytes) - 1}, (enough)}
        BAD(1, "GET / HTTP/1.1\r\n"),
        BAD(1, "\x16\x03\x01"),
        BAD(1, "proxy TCP4"),
        BAD(2, "PUT / HTTP/1.1\r\n"),
        BAD(7, "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n"),
        BAD(10, "PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n"),
        BAD(8, "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n"),
        BAD(14, "PROXY UNKNOWNS\r\n"),
        BAD(14, "PROXY UNKNOWN\n"),
        BAD(15, "PROXY UNKNOWN\rx"),
        BAD(16, "PROXY UNKNOWN x\n"),
        BAD(15, "PROXY TCP4 1.2x3.4 5.6.7.8 1 2\r\n"),
        BAD(31, "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n"),
        BAD(32, "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r"),
        BAD(32, "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r"),
        BAD(32, "PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r"),
        BAD(32, "PROXY TCP4 1.2.3.4 5.6.7.8  1 2\r"),
        BAD(32, "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r"),
        BAD(33, "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r"),
        BAD(29, "PROXY TCP4 1.2.3.4 5.6.7.8 1\r"),
        BAD(12, "PROXY TCP4 \r"),
        BAD(32, "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r"),
        BAD(35, "PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r"),
        BAD(33, "PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r"),
        BAD(23, "PROXY TCP4 ::1 ::1 1 2\r\n"),
        BAD(31, "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n"),
        BAD(2, "\r\x15"),
        BAD(5, "\r\n\r\n\r\n"),
        BAD(12, "\r\n\r\n\0\r\nQUIT\r"),
        BAD(13, SIGNATURE "\x11\x11\0\0"),
        BAD(13, SIGNATURE "\x22\x11\0\0"),
        BAD(14, SIGNATURE "\x21\x13\0\0"),
        BAD(14, SIGNATURE "\x21\x01\0\0"),
        BAD(14, SIGNATURE "\x21\x41\0\0"),
        BAD(16, SIGNATURE "\x21\x11\0\xb"),
        BAD(16, SIGNATURE "\x21\x21\0\x23"),
        BAD(16, SIGNATURE "\x21\x31\0\xd7"),
        BAD(16, SIGNATURE "\x21\x11\xf\xf1"), /* 16 + 4081 */
        BAD(16, SIGNATURE "\x20\x00\xff\xff"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct endpoint source;
        size_t used = 0;
        size_t most = bad[i].bytes.len;
        size_t enough = bad[i].enough < most ? bad[i].enough : most;
        for (size_t len = 0; len <= most; len++) {
            enum proxy_result result = read_exactly(bad[i].bytes.at, len, &source, &used);
            if (result != (len < enough ? PROXY_MORE : PROXY_BAD))
                fail_msg("sample %zu (%s), %zu bytes: %d", i, bad[i].bytes.at, len, result);
        }
    }
}

static void a_line_ends_within_107_bytes(void **state)
{
    (void)state;
    struct endpoint source;
    size_t used = 0;
    char line[PROXY_HEAD_V1_MAX + 2];
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_int_equal(read_exactly(line, PROXY_HEAD_V1_MAX - 2, &source, &used), PROXY_MORE);
    assert_int_equal(read_exactly(line, PROXY_HEAD_V1_MAX - 1, &source, &used), PROXY_BAD);
    memcpy(line + PROXY_HEAD_V1_MAX - 2, "\r\n", 2);
    assert_int_equal(read_exactly(line, PROXY_HEAD_V1_MAX - 1, &source, &used), PROXY_MORE);
    assert_int_equal(read_exactly(line, PROXY_HEAD_V1_MAX, &source, &used), PROXY_DONE);
    assert_int_equal(used, PROXY_HEAD_V1_MAX);
    memcpy(line + PROXY_HEAD_V1_MAX - 2, "x\r\n", 3);
    assert_int_equal(read_exactly(line, PROXY_HEAD_V1_MAX + 1, &source, &used), PROXY_BAD);
}

static void version_2_may_have_as_much_behind_the_addresses_as_fits(void **state)
{
    (void)state;
    struct endpoint source;
    size_t used = 0;
    char *head = calloc(1, PROXY_HEAD_V2_MAX);
    assert_non_null(head);
    memcpy(head, SIGNATURE "\x21\x11\x0f\xf0\1\2\3\4\5\6\7\x8\0\x50\1\xbb", 28);
    assert_int_equal(read_exactly(head, PROXY_HEAD_V2_MAX - 1, &source, &used), PROXY_MORE);
    assert_int_equal(read_exactly(head, PROXY_HEAD_V2_MAX, &source, &used), PROXY_DONE);
    assert_int_equal(used, PROXY_HEAD_V2_MAX);
    assert_int_equal(source.port, 80);
    free(head);
}

static void a_unix_socket_is_nobody_known(void **state)
{
    (void)state;
    struct endpoint source;
    size_t used = 0;
    char head[16 + 216] = {0};
    memcpy(head, SIGNATURE "\x21\x31\x00\xd8/run/somewhere", 30);
    assert_int_equal(read_exactly(head, sizeof head - 1, &source, &used), PROXY_MORE);
    assert_int_equal(read_exactly(head, sizeof head, &source, &used), PROXY_DONE);
    assert_int_equal(used, sizeof head);
    assert_false(ip_is_known(&source.ip));
    assert_int_equal(source.port, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_read_however_it_is_cut),
        cmocka_unit_test(what_is_no_header_is_refused_with_the_byte_that_shows_it),
        cmocka_unit_test(a_line_ends_within_107_bytes),
        cmocka_unit_test(version_2_may_have_as_much_behind_the_addresses_as_fits),
        cmocka_unit_test(a_unix_socket_is_nobody_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
