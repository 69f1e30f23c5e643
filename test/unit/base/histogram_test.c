#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>

#include "base/histogram.h"

static void bounds_rise(void **state)
{
    (void)state;
    for (unsigned i = 1; i < HISTOGRAM_BOUNDS; i++)
        assert_true(histogram_bounds_ns[i] > histogram_bounds_ns[i - 1]);
}

static void each_time_is_counted_once_by_the_first_bound_that_it_is_not_over(void **state)
{
    static struct histogram h;
    uint64_t sum = 0;
    (void)state;
    for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++) {
        histogram_add(&h, histogram_bounds_ns[i]);
        histogram_add(&h, histogram_bounds_ns[i] + 1);
        sum += 2 * histogram_bounds_ns[i] + 1;
    }
    histogram_add(&h, 0);
    assert_int_equal(atomic_load(&h.counts[0]), 2);
    for (unsigned i = 1; i < HISTOGRAM_BOUNDS; i++)
        assert_int_equal(atomic_load(&h.counts[i]), 2);
    assert_int_equal(atomic_load(&h.counts[HISTOGRAM_BOUNDS]), 1);
    assert_true(atomic_load(&h.sum_ns) == sum);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_rise),
        cmocka_unit_test(each_time_is_counted_once_by_the_first_bound_that_it_is_not_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
