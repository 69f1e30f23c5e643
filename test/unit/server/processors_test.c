#include "server/processors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>

static void a_quota_is_rounded_up_to_whole_processors(void **state)
{
    (void)state;
    assert_int_equal(processors_of_quota("100000 100000"), 1);
    assert_int_equal(processors_of_quota("100001 100000"), 2);
    assert_int_equal(processors_of_quota("150000 100000\n"), 2);
    assert_int_equal(processors_of_quota("200000 100000"), 2);
    assert_int_equal(processors_of_quota("1000 100000"), 1);
    assert_int_equal(processors_of_quota("6400000 100000"), 64);
    assert_int_equal(processors_of_quota("50 7"), 8);
}

static void what_is_no_quota_is_no_limit(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "max 100000\n", "max", "", "\n", "0 100000", "100000 0", "100000", "one two"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_int_equal(processors_of_quota(texts[i]), 0);
}

static void there_is_at_least_one_and_no_more_than_the_affinity_allows(void **state)
{
    (void)state;
    cpu_set_t before;
    cpu_set_t one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_in_range(processors_available(), 1, CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(processors_available(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quota_is_rounded_up_to_whole_processors),
        cmocka_unit_test(what_is_no_quota_is_no_limit),
        cmocka_unit_test(there_is_at_least_one_and_no_more_than_the_affinity_allows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
