#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/backoff.h"

static void the_wait_is_anything_from_nothing_to_the_bound(void **state)
{
    (void)state;
    assert_int_equal(backoff_ms(500, 30000, 0, 0), 0);
    assert_int_equal(backoff_ms(500, 30000, 0, UINT32_MAX), 500);
    assert_int_equal(backoff_ms(500, 30000, 0, UINT32_MAX / 2), 250);
}

static void the_bound_doubles_with_each_attempt_up_to_the_most(void **state)
{
    (void)state;
    assert_int_equal(backoff_ms(500, 30000, 1, UINT32_MAX), 1000);
    assert_int_equal(backoff_ms(500, 30000, 5, UINT32_MAX), 16000);
    assert_int_equal(backoff_ms(500, 30000, 6, UINT32_MAX), 30000);
    assert_int_equal(backoff_ms(500, 30000, 7, UINT32_MAX), 30000);
    assert_int_equal(backoff_ms(500, 30000, UINT32_MAX, UINT32_MAX), 30000);
    assert_int_equal(backoff_ms(500, 100, 0, UINT32_MAX), 100);
}

static void the_largest_bounds_do_not_overflow(void **state)
{
    (void)state;
    assert_int_equal(backoff_ms(UINT32_MAX, UINT32_MAX, 9, UINT32_MAX), UINT32_MAX);
    assert_int_equal(backoff_ms(1u << 31, UINT32_MAX, 1, UINT32_MAX), UINT32_MAX);
    assert_int_equal(backoff_ms(0, 0, 9, UINT32_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_wait_is_anything_from_nothing_to_the_bound),
        cmocka_unit_test(the_bound_doubles_with_each_attempt_up_to_the_most),
        cmocka_unit_test(the_largest_bounds_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
