/* What a server writes, read whole and in pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/cluster/resp_dump.h"

/* Reads all of it in pieces of that length, each of which is gone when the next is there. */
static enum resp_result read_in(
    struct resp_in *in, struct buf *out, const char *bytes, size_t len, size_t piece)
{
    enum resp_result result = RESP_MORE;
    while (len > 0 && result == RESP_MORE) {
        const struct resp *answer;
        size_t part = len < piece ? len : piece;
        char *copy = malloc(part);
        assert_non_null(copy);
        memcpy(copy, bytes, part);
        resp_in_feed(in, copy, part);
        while ((result = resp_in_next(in, &answer)) == RESP_DONE)
            resp_dump(out, answer);
        memset(copy, '#', part);
        free(copy);
        bytes += part;
        len -= part;
    }
    return result;
}

static void reads(const char *bytes, size_t len, const char *dump)
{
    for (size_t piece = 1; piece <= len; piece++) {
        struct resp_in *in = resp_in_new();
        struct buf out = {0};
        assert_non_null(in);
        assert_int_equal(read_in(in, &out, bytes, len, piece), RESP_MORE);
        buf_append_char(&out, 0);
        assert_string_equal(out.data, dump);
        buf_fini(&out);
        resp_in_free(in);
    }
}

#define READS(bytes, dump) reads(bytes, sizeof bytes - 1, dump)

static void each_kind_is_read_in_pieces_of_every_length(void **state)
{
    (void)state;
    READS("+OK\r\n", "+2 OK;");
    READS("+\r\n", "+0 ;");
    READS("-ERR no\r\n", "-6 ERR no;");
    READS(":0\r\n:-9223372036854775808\r\n", ":0;:-9223372036854775808;");
    READS("$5\r\nhe\r\nl\r\n", "$5 he\r\nl;");
    READS("$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n", "$0 ;_;_;*();");
    READS("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\na b\r\n", "*($7 message;$1 c;$3 a b;);");
}

static void nested_arrays_keep_their_shape(void **state)
{
    (void)state;
    READS("*4\r\n*2\r\n:1\r\n$1\r\na\r\n*0\r\n$-1\r\n*1\r\n*2\r\n+b\r\n$2\r\ncd\r\n+next\r\n",
        "*(*(:1;$1 a;);*();_;*(*(+1 b;$2 cd;);););+4 next;");
}

static void texts_point_into_what_was_fed(void **state)
{
    static const char bytes[] = "*2\r\n$3\r\nabc\r\n+def\r\n$3\r\nghi\r\n";
    const struct resp *answer;
    struct resp_in *in = resp_in_new();
    (void)state;
    resp_in_feed(in, bytes, sizeof bytes - 1);
    assert_int_equal(resp_in_next(in, &answer), RESP_DONE);
    assert_ptr_equal(answer->items[0].text.at, bytes + 8);
    assert_ptr_equal(answer->items[1].text.at, bytes + 14);
    assert_int_equal(resp_in_next(in, &answer), RESP_DONE);
    assert_ptr_equal(answer->text.at, bytes + 23);
    assert_int_equal(resp_in_next(in, &answer), RESP_MORE);
    resp_in_free(in);
}

/* The reader is fed with slices, and moves what it has: nothing may be off by one then. */
static void long_answers_are_read_whole(void **state)
{
    struct buf bytes = {0};
    struct buf dump = {0};
    (void)state;
    for (unsigned i = 0; i < 400; i++) {
        char text[3000];
        size_t len = i * 37 % sizeof text;
        memset(text, 'a' + (int)(i % 26), sizeof text);
        buf_appendf(&bytes, "*3\r\n$7\r\nmessage\r\n$5\r\nc%04u\r\n$%zu\r\n%.*s\r\n", i, len,
            (int)len, text);
        buf_appendf(&dump, "*($7 message;$5 c%04u;$%zu %.*s;);", i, len, (int)len, text);
    }
    static const size_t pieces[] = {77, 1000, 4096, 4097, 65536, 1 << 20};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct resp_in *in = resp_in_new();
        struct buf out = {0};
        assert_int_equal(read_in(in, &out, bytes.data, bytes.len, pieces[i]), RESP_MORE);
        assert_int_equal(out.len, dump.len);
        assert_memory_equal(out.data, dump.data, dump.len);
        buf_fini(&out);
        resp_in_free(in);
    }
    buf_fini(&bytes);
    buf_fini(&dump);
}

static void answers_of_many_items_come_among_small_ones(void **state)
{
    struct buf bytes = {0};
    struct buf dump = {0};
    struct buf out = {0};
    struct resp_in *in = resp_in_new();
    (void)state;
    for (int i = 0; i < 3; i++) {
        buf_append_string(&bytes, "*20000\r\n");
        buf_append_string(&dump, "*(");
        for (int j = 0; j < 20000; j++) {
            buf_appendf(&bytes, "$5\r\n%05d\r\n", j);
            buf_appendf(&dump, "$5 %05d;", j);
        }
        buf_append_string(&bytes, "*1\r\n+OK\r\n");
        buf_append_string(&dump, ");*(+2 OK;);");
    }
    assert_int_equal(read_in(in, &out, bytes.data, bytes.len, 65536), RESP_MORE);
    assert_int_equal(out.len, dump.len);
    assert_memory_equal(out.data, dump.data, dump.len);
    buf_fini(&bytes);
    buf_fini(&dump);
    buf_fini(&out);
    resp_in_free(in);
}

static void what_cannot_be_read_is_bad_for_ever(void **state)
{
    static const char *const bad[] = {"hello\r\n", "$x\r\n", "*x\r\n", "$-2\r\n", "*-2\r\n",
        ":1x\r\n", "HTTP/1.1 400 Bad Request\r\n", "*1\r\n!\r\n",
        /* More than anybody would send: nothing is set aside for it. */
        "*1048577\r\n", "*2147483647\r\n", "*4294967297\r\n", "*9223372036854775807\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct resp *answer;
        struct buf out = {0};
        struct resp_in *in = resp_in_new();
        assert_int_equal(read_in(in, &out, bad[i], strlen(bad[i]), 100), RESP_BAD);
        assert_true(strlen(resp_in_fault(in)) > 0);
        resp_in_feed(in, "+OK\r\n", 5);
        assert_int_equal(resp_in_next(in, &answer), RESP_BAD);
        assert_int_equal(out.len, 0);
        buf_fini(&out);
        resp_in_free(in);
    }
}

static void an_answer_over_the_limit_is_bad_before_it_is_whole(void **state)
{
    static char zeros[1 << 20];
    const struct resp *answer;
    (void)state;
    for (int texts = 0; texts < 2; texts++) {
        struct resp_in *in = resp_in_new();
        enum resp_result result;
        size_t fed = 0;
        const char *head = texts ? "*1000\r\n" : "$1000000000\r\n";
        resp_in_feed(in, head, strlen(head));
        while ((result = resp_in_next(in, &answer)) == RESP_MORE) {
            assert_in_range(fed, 0, 2 * (size_t)RESP_BYTES_MOST);
            if (texts && fed % (sizeof zeros + 12) == 0) {
                resp_in_feed(in, "$1048576\r\n", 10);
                fed += 10;
            } else if (texts && fed % (sizeof zeros + 12) == 10 + sizeof zeros) {
                resp_in_feed(in, "\r\n", 2);
                fed += 2;
            } else {
                resp_in_feed(in, zeros, sizeof zeros);
                fed += sizeof zeros;
            }
        }
        assert_int_equal(result, RESP_BAD);
        assert_string_equal(resp_in_fault(in), "an answer of too many bytes");
        resp_in_free(in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_is_read_in_pieces_of_every_length),
        cmocka_unit_test(nested_arrays_keep_their_shape),
        cmocka_unit_test(texts_point_into_what_was_fed),
        cmocka_unit_test(long_answers_are_read_whole),
        cmocka_unit_test(answers_of_many_items_come_among_small_ones),
        cmocka_unit_test(what_cannot_be_read_is_bad_for_ever),
        cmocka_unit_test(an_answer_over_the_limit_is_bad_before_it_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
