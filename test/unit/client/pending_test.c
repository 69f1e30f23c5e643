#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/pending.h"

static void answers_may_come_in_any_order(void **state)
{
    (void)state;
    struct pending p = {0};
    for (uint64_t n = 1; n <= 5; n++)
        assert_int_equal(pending_add(&p, PENDING_OTHER, n * 10), n);
    static const uint64_t order[] = {3, 1, 5, 2, 4};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(pending_kind(&p, order[i]), PENDING_OTHER);
        assert_int_equal(pending_take(&p, order[i]).token, order[i] * 10);
        assert_int_equal(pending_kind(&p, order[i]), PENDING_NONE);
        assert_int_equal(pending_take(&p, order[i]).kind, PENDING_NONE);
    }
    assert_null(p.queue.data);
    assert_int_equal(pending_take(&p, 0).kind, PENDING_NONE);
    assert_int_equal(pending_take(&p, 6).kind, PENDING_NONE);
    assert_int_equal(pending_add(&p, PENDING_OTHER, 0), 6);
    pending_undo(&p);
    assert_null(p.queue.data);
    assert_int_equal(pending_add(&p, PENDING_OTHER, 0), 6);
    pending_fini(&p);
}

static void publishes_are_taken_in_order_and_commands_forgotten(void **state)
{
    (void)state;
    struct pending p = {0};
    uint64_t token;
    for (uint64_t n = 1; n <= 6; n++)
        pending_add(&p, n % 2 ? PENDING_PUBLISH : PENDING_SUBSCRIBE, n * 10);
    assert_true(pending_take_publish(&p, 5, &token));
    assert_int_equal(token, 10);
    pending_forget_commands(&p, 6);
    assert_int_equal(pending_kind(&p, 2), PENDING_NONE);
    assert_int_equal(pending_kind(&p, 6), PENDING_SUBSCRIBE);
    assert_true(pending_take_publish(&p, 5, &token));
    assert_int_equal(token, 30);
    assert_false(pending_take_publish(&p, 5, &token));
    assert_int_equal(pending_take(&p, 5).token, 50);
    assert_int_equal(pending_take(&p, 6).token, 60);
    assert_null(p.queue.data);
}

static void a_queue_that_is_never_empty_does_not_grow(void **state)
{
    (void)state;
    struct pending p = {0};
    pending_add(&p, PENDING_PUBLISH, 1);
    for (uint64_t n = 1; n < 100000; n++) {
        assert_int_equal(pending_add(&p, PENDING_PUBLISH, n + 1), n + 1);
        assert_int_equal(pending_take(&p, n).token, n);
    }
    assert_true(p.queue.cap < 65536);
    pending_fini(&p);
}

static void an_id_is_read_as_it_is_written(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {1, 9, 10, 1234567890123, UINT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct buf b = {0};
        pending_id_append(&b, numbers[i]);
        assert_true(pending_id_read(buf_text(&b)) == numbers[i]);
        buf_fini(&b);
    }
    static const char *const others[] = {
        "", "1", "\"\"", "\"#\"", "\"1\"", "\"#a\"", "\"#1a\"", "\"x1\"", "\"#-1\"", "null"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(pending_id_read(text_of(others[i])), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_may_come_in_any_order),
        cmocka_unit_test(publishes_are_taken_in_order_and_commands_forgotten),
        cmocka_unit_test(a_queue_that_is_never_empty_does_not_grow),
        cmocka_unit_test(an_id_is_read_as_it_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
