#include "hermes-bench/histogram.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { VALUES = 200000 };

static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static double random_part(uint64_t *state)
{
    return ((double)(random_next(state) >> 11) + 0.5) / 9007199254740992.0;
}

/* ---- distributions ---- */

static uint64_t uniform(uint64_t *state)
{
    return random_next(state) % 1000000000;
}

static uint64_t small(uint64_t *state)
{
    return random_next(state) % 200;
}

static uint64_t exponential(uint64_t *state)
{
    return (uint64_t)(-log(random_part(state)) * 350000);
}

static uint64_t heavy_tailed(uint64_t *state)
{
    return (uint64_t)(20000 / pow(random_part(state), 1.2));
}

static uint64_t two_humps(uint64_t *state)
{
    return (random_next(state) % 100 ? 90000 : 80000000) + random_next(state) % 5000;
}

static uint64_t constant(uint64_t *state)
{
    (void)state;
    return 123456789;
}

static uint64_t any_size(uint64_t *state)
{
    const unsigned bits = (unsigned)(random_next(state) % 42);
    return random_next(state) & ((UINT64_C(2) << bits) - 1);
}

static int by_size(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void percentiles_are_those_of_the_sorted_values(void **unused)
{
    (void)unused;
    uint64_t (*const distribution[])(uint64_t *) = {
        uniform, small, exponential, heavy_tailed, two_humps, constant, any_size};
    static const double parts[] = {0, 0.001, 0.1, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999, 0.99999, 1};
    static struct histogram h;
    uint64_t *value = malloc(VALUES * sizeof *value);
    for (size_t d = 0; d < sizeof distribution / sizeof *distribution; d++) {
        uint64_t state = 42 + d;
        long double sum = 0;
        histogram_clear(&h);
        for (size_t i = 0; i < VALUES; i++) {
            value[i] = distribution[d](&state);
            sum += (long double)value[i];
            histogram_record(&h, value[i]);
        }
        qsort(value, VALUES, sizeof *value, by_size);
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            const double rank = ceil(parts[i] * VALUES - 1e-6);
            const uint64_t exact = value[rank < 1 ? 0 : (size_t)rank - 1];
            const uint64_t found = histogram_at(&h, parts[i]);
            if (found < exact || found - exact > exact / 64 || found > value[VALUES - 1])
                fail_msg("distribution %zu at %g: %llu, exactly %llu", d, parts[i],
                    (unsigned long long)found, (unsigned long long)exact);
        }
        assert_int_equal(h.total, VALUES);
        assert_int_equal(h.least, value[0]);
        assert_int_equal(h.most, value[VALUES - 1]);
        assert_int_equal(histogram_at(&h, 1), value[VALUES - 1]);
        assert_true(fabs(histogram_mean(&h) - (double)(sum / VALUES)) < 1e-3);
    }
    free(value);
}

static void buckets_leave_no_gap_and_hold_their_edges(void **unused)
{
    (void)unused;
    static struct histogram h;
    assert_int_equal(histogram_low(0), 0);
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        const uint64_t low = histogram_low(i), high = histogram_high(i);
        histogram_clear(&h);
        histogram_record(&h, low);
        histogram_record(&h, high);
        assert_int_equal(h.count[i], 2);
        assert_true((high - low) * 64 <= low); /* known to a 64th */
        if (i + 1 < HISTOGRAM_BUCKETS)
            assert_int_equal(high + 1, histogram_low(i + 1));
    }
    assert_int_equal(histogram_high(HISTOGRAM_BUCKETS - 1), (UINT64_C(1) << 42) - 1);
}

static void what_is_longer_than_the_last_bucket_is_in_it_and_the_greatest_is_exact(void **unused)
{
    (void)unused;
    static struct histogram h;
    histogram_clear(&h);
    histogram_record(&h, UINT64_C(1) << 42);
    histogram_record(&h, (UINT64_C(1) << 42) - 1);
    histogram_record(&h, UINT64_C(1) << 62);
    assert_int_equal(h.count[HISTOGRAM_BUCKETS - 1], 3);
    assert_int_equal(h.most, UINT64_C(1) << 62);
    assert_true(histogram_at(&h, 0.5) >= UINT64_C(1) << 42);
    histogram_record(&h, UINT64_MAX);
    assert_int_equal(histogram_at(&h, 1), UINT64_MAX);
}

static void zero_and_one_are_exact(void **unused)
{
    (void)unused;
    static struct histogram h;
    histogram_clear(&h);
    histogram_record(&h, 1);
    histogram_record(&h, 0);
    assert_int_equal(h.least, 0);
    assert_int_equal(histogram_at(&h, 0.5), 0);
    assert_int_equal(histogram_at(&h, 0.51), 1);
}

static void the_hundredth_of_a_hundred_is_not_the_99th_percentile(void **unused)
{
    (void)unused;
    static struct histogram h;
    histogram_clear(&h);
    for (uint64_t i = 0; i < 100; i++)
        histogram_record(&h, i < 99 ? 10 : 50);
    assert_int_equal(histogram_at(&h, 0.99), 10);
    assert_int_equal(histogram_at(&h, 0.991), 50);
}

static void a_share_that_is_no_binary_fraction_is_not_rounded_to_the_next_value(void **unused)
{
    (void)unused;
    static struct histogram h;
    histogram_clear(&h);
    for (uint64_t i = 1; i <= 100; i++)
        histogram_record(&h, i);
    assert_int_equal(histogram_at(&h, 0.07), 7); /* 0.07 * 100 is a hair above 7 */
    assert_int_equal(histogram_at(&h, 0.55), 55);
}

static void adding_up_is_as_if_one_had_recorded_all(void **unused)
{
    (void)unused;
    static struct histogram one, two, both, zeros;
    uint64_t state = 7;
    histogram_clear(&one);
    histogram_clear(&two);
    histogram_clear(&both);
    for (size_t i = 0; i < 10000; i++) {
        const uint64_t value = any_size(&state) + 5;
        histogram_record(i % 3 ? &one : &two, value);
        histogram_record(&both, value);
    }
    histogram_add(&one, &zeros); /* whose least is no value */
    histogram_add(&one, &two);
    assert_memory_equal(&one, &both, sizeof one);
    histogram_add(&zeros, &both);
    assert_memory_equal(&zeros, &both, sizeof both);
}

static void an_empty_one_has_nothing_but_zeros(void **unused)
{
    (void)unused;
    static struct histogram h;
    histogram_record(&h, 77);
    histogram_clear(&h);
    assert_int_equal(h.least, 0);
    assert_int_equal(h.most, 0);
    assert_int_equal(histogram_at(&h, 0.5), 0);
    assert_int_equal(histogram_at(&h, 1), 0);
    assert_true(histogram_mean(&h) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_those_of_the_sorted_values),
        cmocka_unit_test(buckets_leave_no_gap_and_hold_their_edges),
        cmocka_unit_test(what_is_longer_than_the_last_bucket_is_in_it_and_the_greatest_is_exact),
        cmocka_unit_test(zero_and_one_are_exact),
        cmocka_unit_test(the_hundredth_of_a_hundred_is_not_the_99th_percentile),
        cmocka_unit_test(a_share_that_is_no_binary_fraction_is_not_rounded_to_the_next_value),
        cmocka_unit_test(adding_up_is_as_if_one_had_recorded_all),
        cmocka_unit_test(an_empty_one_has_nothing_but_zeros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
