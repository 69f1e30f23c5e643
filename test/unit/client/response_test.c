#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/response.h"

#define KEY "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define LINE "HTTP/1.1 101 Switching Protocols\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define ACCEPT "Sec-WebSocket-Accept: " KEY "\r\n"
#define GOOD LINE UPGRADE ACCEPT "\r\n"

/* From a buffer of exactly the size, so that nothing behind it can be read. */
static enum response_result read_len(
    struct response *r, const char *text, size_t len, const char *subprotocol)
{
    char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    enum response_result result = response_read(r, copy, len, KEY, subprotocol);
    free(copy);
    return result;
}

static void reads(const char *text, const char *subprotocol, enum response_result wanted)
{
    struct response r;
    enum response_result result = read_len(&r, text, strlen(text), subprotocol);
    if (result != wanted)
        fail_msg("%d instead of %d (%s): %s", result, wanted, r.fault ? r.fault : "-", text);
}

static void a_good_answer_is_known_as_soon_as_it_is_whole(void **state)
{
    (void)state;
    static const char text[] = GOOD "frames";
    size_t head = sizeof GOOD - 1;
    struct response r;
    for (size_t len = 0; len < head; len++)
        assert_int_equal(read_len(&r, text, len, NULL), RESPONSE_MORE);
    for (size_t len = head; len < sizeof text; len++) {
        assert_int_equal(read_len(&r, text, len, NULL), RESPONSE_OPEN);
        assert_int_equal(r.used, head);
    }
}

static void case_space_and_other_headers_make_no_difference(void **state)
{
    (void)state;
    reads("HTTP/1.1 101\r\nDate: today\r\nUPGRADE:WebSocket \r\n"
          "connection:\tkeep-alive,\tUPGRADE\r\nsec-websocket-accept:  " KEY "\r\nX:\r\n\r\n",
        NULL, RESPONSE_OPEN);
    reads(LINE "Upgrade: websocket\r\nConnection: x\r\nConnection: upgrade\r\n" ACCEPT "\r\n", NULL,
        RESPONSE_OPEN);
}

static void every_part_of_the_answer_is_checked(void **state)
{
    (void)state;
    reads(LINE UPGRADE "\r\n", NULL, RESPONSE_BAD);
    reads(LINE UPGRADE "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", NULL,
        RESPONSE_BAD);
    reads(LINE UPGRADE ACCEPT ACCEPT "\r\n", NULL, RESPONSE_BAD);
    reads(LINE "Connection: Upgrade\r\n" ACCEPT "\r\n", NULL, RESPONSE_BAD);
    reads(LINE "Upgrade: websocket\r\n" ACCEPT "\r\n", NULL, RESPONSE_BAD);
    reads(LINE "Upgrade: h2c\r\nConnection: Upgrade\r\n" ACCEPT "\r\n", NULL, RESPONSE_BAD);
    reads(LINE "Upgrade: websocket\r\nConnection: upgraded\r\n" ACCEPT "\r\n", NULL, RESPONSE_BAD);
    reads(LINE UPGRADE ACCEPT "no colon\r\n\r\n", NULL, RESPONSE_BAD);
    reads(LINE UPGRADE ACCEPT "X: lone\nY: feed\r\n\r\n", NULL, RESPONSE_BAD);
}

static void nothing_is_taken_that_was_not_asked_for(void **state)
{
    (void)state;
    reads(LINE UPGRADE ACCEPT "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", NULL,
        RESPONSE_BAD);
    reads(LINE UPGRADE ACCEPT "Sec-WebSocket-Protocol: hermes.v1\r\n\r\n", NULL, RESPONSE_BAD);
    reads(
        LINE UPGRADE ACCEPT "Sec-WebSocket-Protocol: hermes.v2\r\n\r\n", "hermes.v1", RESPONSE_BAD);
    reads(LINE UPGRADE ACCEPT "Sec-WebSocket-Protocol: hermes.v1\r\n\r\n", "hermes.v1",
        RESPONSE_OPEN);
    reads(GOOD, "hermes.v1", RESPONSE_OPEN);
}

static void a_refusal_keeps_its_status_and_phrase(void **state)
{
    (void)state;
    struct response r;
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\r\nfull\n";
    assert_int_equal(response_read(&r, text, sizeof text - 1, KEY, NULL), RESPONSE_REFUSED);
    assert_int_equal(r.status, 503);
    assert_true(text_equal(r.phrase, TEXT("Service Unavailable")));
    reads("HTTP/1.0 404\r\n\r\n", NULL, RESPONSE_REFUSED);
    reads("HTTP/1.1 200 OK\r\n\r\n", NULL, RESPONSE_REFUSED);
}

static void what_is_not_http_is_known_early(void **state)
{
    (void)state;
    reads("SSH-2.0-OpenSSH\r\n", NULL, RESPONSE_BAD);
    reads("HTTP/2 101 x\r\n\r\n", NULL, RESPONSE_BAD);
    reads("HTTP/1.1 1o1 x\r\n\r\n", NULL, RESPONSE_BAD);
    reads("HTTP/1.1 1011\r\n\r\n", NULL, RESPONSE_BAD);
    reads("HTTP/1.1101 x\r\n\r\n", NULL, RESPONSE_BAD);
    reads("\r\n\r\n", NULL, RESPONSE_BAD);
    reads("\n\r\n\r\n", NULL, RESPONSE_BAD);
    reads("HTTP/\r\n\r\n", NULL, RESPONSE_BAD);
}

static void an_endless_head_is_refused(void **state)
{
    (void)state;
    struct response r;
    char *text = malloc(RESPONSE_MAX + 4);
    assert_non_null(text);
    memset(text, 'x', RESPONSE_MAX);
    memcpy(text, LINE "X: ", sizeof LINE "X: " - 1);
    memcpy(text + RESPONSE_MAX, "\r\n\r\n", 4);
    assert_int_equal(response_read(&r, text, RESPONSE_MAX - 1, KEY, NULL), RESPONSE_MORE);
    assert_int_equal(response_read(&r, text, RESPONSE_MAX, KEY, NULL), RESPONSE_BAD);
    assert_int_equal(response_read(&r, text, RESPONSE_MAX + 4, KEY, NULL), RESPONSE_BAD);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_answer_is_known_as_soon_as_it_is_whole),
        cmocka_unit_test(case_space_and_other_headers_make_no_difference),
        cmocka_unit_test(every_part_of_the_answer_is_checked),
        cmocka_unit_test(nothing_is_taken_that_was_not_asked_for),
        cmocka_unit_test(a_refusal_keeps_its_status_and_phrase),
        cmocka_unit_test(what_is_not_http_is_known_early),
        cmocka_unit_test(an_endless_head_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
