/* Commands as bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/resp_out.h"
#include "support/dying.h"

static void is(const struct resp_out *out, const char *bytes)
{
    struct text text = resp_out_text(out);
    assert_int_equal(text.len, strlen(bytes));
    assert_memory_equal(text.at, bytes, text.len);
}

static void arguments_may_come_in_pieces_and_be_empty(void **state)
{
    struct resp_out out = {0};
    (void)state;
    resp_out_begin(&out, 5);
    resp_out_arg(&out, TEXT("SET"));
    resp_out_arg(&out, TEXT(""));
    resp_out_arg_begin(&out, 5);
    resp_out_piece(&out, TEXT("ab"));
    resp_out_piece(&out, TEXT(""));
    resp_out_piece(&out, TEXT("\r\nc"));
    resp_out_number(&out, 0);
    resp_out_number(&out, UINT64_MAX);
    assert_true(resp_out_end(&out));
    is(&out, "*5\r\n$3\r\nSET\r\n$0\r\n\r\n$5\r\nab\r\nc\r\n$1\r\n0\r\n"
             "$20\r\n18446744073709551615\r\n");
    resp_out_fini(&out);
}

static void ping(struct resp_out *out)
{
    resp_out_begin(out, 1);
    resp_out_arg(out, TEXT("PING"));
    assert_true(resp_out_end(out));
}

static void what_is_sent_goes_from_the_front(void **state)
{
    static char many[40000];
    struct resp_out out = {0};
    (void)state;
    ping(&out);
    ping(&out);
    resp_out_sent(&out, 16);
    is(&out, "\r\n$4\r\nPING\r\n");
    resp_out_sent(&out, resp_out_text(&out).len);
    is(&out, "");
    /* Most of what waits has gone, in many pieces: the rest is moved, and stays the same. */
    for (int i = 0; i < 10; i++) {
        resp_out_begin(&out, 1);
        resp_out_arg(&out, (struct text){many, sizeof many});
        assert_true(resp_out_end(&out));
    }
    ping(&out);
    while (resp_out_text(&out).len > 14)
        resp_out_sent(&out, resp_out_text(&out).len > 1014 ? 1000 : resp_out_text(&out).len - 14);
    is(&out, "*1\r\n$4\r\nPING\r\n");
    assert_true(out.bytes.len < 150000);
    resp_out_fini(&out);
}

static void a_command_can_be_taken_back(void **state)
{
    struct resp_out out = {0};
    (void)state;
    ping(&out);
    resp_out_begin(&out, 1);
    resp_out_arg(&out, TEXT("QUIT"));
    assert_true(resp_out_end(&out));
    resp_out_undo(&out);
    is(&out, "*1\r\n$4\r\nPING\r\n");
    resp_out_fini(&out);
}

static void secrets_are_wiped(void **state)
{
    struct resp_out out = {0};
    (void)state;
    resp_out_begin(&out, 1);
    resp_out_arg(&out, TEXT("hidden"));
    assert_true(resp_out_end(&out));
    assert_non_null(memmem(out.bytes.data, out.bytes.cap, "hidden", 6));
    resp_out_clear(&out, true);
    assert_null(memmem(out.bytes.data, out.bytes.cap, "hidden", 6));
    resp_out_fini(&out);
}

static void end_too_early(void *of)
{
    struct resp_out *out = of;
    resp_out_begin(out, 2);
    resp_out_arg(out, TEXT("ECHO"));
    (void)resp_out_end(out);
}

static void a_command_that_is_not_what_it_was_said_to_be_is_our_own_bug(void **state)
{
    struct resp_out out = {0};
    (void)state;
    assert_true(dies(end_too_early, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_may_come_in_pieces_and_be_empty),
        cmocka_unit_test(what_is_sent_goes_from_the_front),
        cmocka_unit_test(a_command_can_be_taken_back),
        cmocka_unit_test(secrets_are_wiped),
        cmocka_unit_test(a_command_that_is_not_what_it_was_said_to_be_is_our_own_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
