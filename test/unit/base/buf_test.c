#include "base/buf.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void assert_holds(const struct buf *b, struct text expected)
{
    assert_int_equal(b->len, expected.len);
    assert_memory_equal(b->data, expected.at, expected.len);
}

static void an_empty_buffer_owns_no_memory(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    assert_null(b.data);
    buf_append(&b, "", 0);
    buf_append_text(&b, (struct text){NULL, 0});
    assert_null(b.data);
    assert_false(b.failed);
    assert_int_equal(buf_text(&b).len, 0);
    buf_fini(&b);
}

static void appends_follow_each_other(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_append(&b, "a\0b", 3);
    buf_append_text(&b, TEXT("cd"));
    buf_append_string(&b, "ef");
    buf_append_char(&b, '!');
    assert_holds(&b, TEXT("a\0bcdef!"));
    buf_fini(&b);
    assert_null(b.data);
    assert_int_equal(b.cap, 0);
}

static void numbers_are_written_whole(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_append_number(&b, 0);
    buf_append_char(&b, ' ');
    buf_append_number(&b, 1000);
    buf_append_char(&b, ' ');
    buf_append_number(&b, ULLONG_MAX);
    assert_holds(&b, TEXT("0 1000 18446744073709551615"));
    buf_fini(&b);
}

static void a_format_appends_without_its_terminator(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_appendf(&b, "%s=%d", "x", 7);
    buf_appendf(&b, "%s", "");
    buf_appendf(&b, "%0200d", 5);
    assert_int_equal(b.len, 203);
    assert_memory_equal(b.data, "x=7000", 6);
    assert_int_equal(b.data[202], '5');
    buf_fini(&b);
}

static void growing_keeps_what_is_there(void **state)
{
    (void)state;
    struct buf b = {0};
    for (unsigned i = 0; i < 100000; i++)
        buf_append_char(&b, (char)(i * 7));
    assert_int_equal(b.len, 100000);
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(b.data[i], (char)(i * 7));
    buf_fini(&b);
}

static void reserving_makes_room_and_adds_nothing(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_true(buf_reserve(&b, 1000));
    assert_true(b.cap >= 1000);
    assert_int_equal(b.len, 0);
    char *data = b.data;
    for (int i = 0; i < 1000; i++)
        buf_append_char(&b, 'x');
    assert_ptr_equal(b.data, data);
    buf_fini(&b);
}

static void what_cannot_be_held_fails_and_changes_nothing_else(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_append_string(&b, "kept");
    assert_false(buf_reserve(&b, SIZE_MAX - 2));
    assert_true(b.failed);
    assert_holds(&b, TEXT("kept"));
    buf_append_string(&b, "more");
    buf_append_char(&b, '!');
    buf_append_number(&b, 1);
    buf_appendf(&b, "%d", 2);
    assert_holds(&b, TEXT("kept"));
    assert_true(b.failed);
    buf_fini(&b);
}

static void clearing_keeps_the_memory_and_forgets_the_failure(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_append_string(&b, "some text");
    char *data = b.data;
    assert_false(buf_reserve(&b, SIZE_MAX / 2));
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_false(b.failed);
    buf_append_string(&b, "other");
    assert_ptr_equal(b.data, data);
    assert_holds(&b, TEXT("other"));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_owns_no_memory),
        cmocka_unit_test(appends_follow_each_other),
        cmocka_unit_test(numbers_are_written_whole),
        cmocka_unit_test(a_format_appends_without_its_terminator),
        cmocka_unit_test(growing_keeps_what_is_there),
        cmocka_unit_test(reserving_makes_room_and_adds_nothing),
        cmocka_unit_test(what_cannot_be_held_fails_and_changes_nothing_else),
        cmocka_unit_test(clearing_keeps_the_memory_and_forgets_the_failure),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
