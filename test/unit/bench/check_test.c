#include "hermes-bench/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Feeds numbers, ended by -1, to a check that joined at `sent`. */
static struct report_faults fed(struct check *c, uint64_t sent, const int *numbers)
{
    struct report_faults faults = {0};
    check_join(c, sent);
    for (; *numbers >= 0; numbers++)
        check_take(c, (uint64_t)*numbers, &faults);
    return faults;
}

#define FED(c, sent, ...) fed(c, sent, (const int[]){__VA_ARGS__, -1})

static void assert_faults(
    struct report_faults f, uint64_t lost, uint64_t doubled, uint64_t reordered)
{
    assert_int_equal(f.lost, lost);
    assert_int_equal(f.doubled, doubled);
    assert_int_equal(f.reordered, reordered);
}

static void numbers_in_a_row_are_right(void **state)
{
    struct check c;
    (void)state;
    assert_faults(FED(&c, 0, 0, 1, 2, 3, 4), 0, 0, 0);
    assert_int_equal(check_missing(&c, 5), 0);
    assert_int_equal(check_missing(&c, 7), 2);
}

static void what_is_left_out_is_lost(void **state)
{
    struct check c;
    (void)state;
    assert_faults(FED(&c, 0, 0, 1, 4, 5), 2, 0, 0);
    assert_faults(FED(&c, 0, 3), 3, 0, 0);
}

static void what_comes_late_is_reordered_and_not_lost(void **state)
{
    struct check c;
    (void)state;
    assert_faults(FED(&c, 0, 0, 2, 1, 3), 0, 0, 1);
    assert_faults(FED(&c, 0, 1, 0), 0, 0, 1);
    assert_faults(FED(&c, 0, 0, 63, 1, 2), 60, 0, 2);
}

static void what_comes_twice_is_doubled(void **state)
{
    struct check c;
    (void)state;
    assert_faults(FED(&c, 0, 0, 1, 1, 2), 0, 1, 0);
    assert_faults(FED(&c, 0, 0, 0), 0, 1, 0);
    assert_faults(FED(&c, 0, 0, 2, 1, 1), 0, 1, 1);
}

static void what_is_older_than_anyone_remembers_counts_as_doubled(void **state)
{
    struct check c;
    (void)state;
    assert_faults(FED(&c, 0, 0, 65, 1), 64, 1, 0);
}

static void only_a_number_that_is_new_is_taken(void **state)
{
    struct check c;
    struct report_faults f = {0};
    (void)state;
    check_join(&c, 0);
    assert_true(check_take(&c, 0, &f));
    assert_false(check_take(&c, 0, &f));
    assert_true(check_take(&c, 2, &f));
    assert_true(check_take(&c, 1, &f));
    assert_false(check_take(&c, 1, &f));
}

static void who_joins_late_is_owed_what_was_sent_from_then_on(void **state)
{
    struct check c;
    (void)state;
    assert_faults(FED(&c, 100, 100, 101), 0, 0, 0);
    /* Sent before the answer came, and read by the server behind the subscribe. */
    assert_faults(FED(&c, 100, 98, 99, 100), 0, 0, 0);
    assert_faults(FED(&c, 100, 98, 100), 1, 0, 0);
    assert_faults(FED(&c, 100, 102), 2, 0, 0);
    assert_faults(FED(&c, 100, 102, 101), 1, 0, 1);
    check_join(&c, 100);
    assert_int_equal(check_missing(&c, 103), 3);
    assert_int_equal(check_missing(&c, 100), 0);
}

/* Against a list of all that came: any stream whose disorder stays within the window. */
static void it_agrees_with_a_list_of_all_that_came(void **state)
{
    enum { NUMBERS = 3000 };
    (void)state;
    srand(7);
    for (int run = 0; run < 50; run++) {
        struct check c;
        struct report_faults f = {0};
        bool seen[NUMBERS] = {false};
        uint64_t lost = 0, doubled = 0, reordered = 0;
        int high = -1;
        check_join(&c, 0);
        for (int at = 0; at + 50 < NUMBERS;) {
            int number = at + rand() % 40 - (at > 40 ? rand() % 40 : 0);
            at += rand() % 2;
            if (high >= 0 && high - number >= 64)
                continue;
            bool fresh = check_take(&c, (uint64_t)number, &f);
            assert_int_equal(fresh, !seen[number]);
            doubled += seen[number];
            reordered += !seen[number] && number < high;
            seen[number] = true;
            if (number > high)
                high = number;
        }
        for (int n = 0; n < high; n++)
            lost += !seen[n];
        assert_faults(f, lost, doubled, reordered);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_in_a_row_are_right),
        cmocka_unit_test(what_is_left_out_is_lost),
        cmocka_unit_test(what_comes_late_is_reordered_and_not_lost),
        cmocka_unit_test(what_comes_twice_is_doubled),
        cmocka_unit_test(what_is_older_than_anyone_remembers_counts_as_doubled),
        cmocka_unit_test(only_a_number_that_is_new_is_taken),
        cmocka_unit_test(who_joins_late_is_owed_what_was_sent_from_then_on),
        cmocka_unit_test(it_agrees_with_a_list_of_all_that_came),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
