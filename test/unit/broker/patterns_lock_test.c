/* What happens just when the lock is given back: the locks here are the test's own, and call it at
 * that moment, as another thread might come in then. */
#include "broker/patterns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void (*given)(void); /* called once */

void lock_init(struct lock *l, enum lock_rank rank)
{
    l->rank = rank;
}

void lock_fini(struct lock *l)
{
    (void)l;
}

void lock_take(struct lock *l) NO_THREAD_SAFETY_ANALYSIS
{
    (void)l;
}

void lock_give(struct lock *l) NO_THREAD_SAFETY_ANALYSIS
{
    void (*call)(void) = given;
    (void)l;
    if (!call)
        return;
    given = NULL;
    call();
}

static struct patterns patterns;
static struct pattern *first;
static struct pattern *second;
static struct match_set *found;
static uint64_t generation;

static void join_second(void)
{
    second = patterns_join(&patterns, 2, TEXT(">"), 1, false);
}

static void all_leave(void)
{
    patterns_leave(&patterns, first, 0, true, false);
    patterns_leave(&patterns, second, 1, true, false);
}

static void match(void)
{
    assert_true(patterns_match(&patterns, TEXT("t"), &found, &generation));
}

/* Broken by a generation that is read when the lock is given: fails. */
static void an_answer_is_not_taken_for_one_that_knows_who_joined_right_after(void **state)
{
    (void)state;
    struct match_set *set;
    uint64_t before;
    patterns_init(&patterns, 2);
    first = patterns_join(&patterns, 1, TEXT("*"), 0, false);
    given = join_second;
    assert_true(patterns_match(&patterns, TEXT("t"), &set, &before));
    assert_non_null(second);
    assert_int_equal(set->count, 1);
    assert_true(before != patterns_generation(&patterns));
    match_set_drop(set);

    given = all_leave;
    assert_true(patterns_match(&patterns, TEXT("t"), &set, &before));
    assert_false(patterns_used(&patterns));
    assert_int_equal(set->count, 2);
    assert_ptr_equal(set->patterns[0], first); /* they are still there for who holds the set */
    assert_ptr_equal(set->patterns[1], second);
    assert_true(before != patterns_generation(&patterns));
    match_set_drop(set);
    patterns_fini(&patterns);
}

/* Broken by a generation that is raised behind the lock: fails. */
static void whoever_comes_in_right_after_a_change_has_its_generation(void **state)
{
    (void)state;
    patterns_init(&patterns, 2);
    given = match;
    first = patterns_join(&patterns, 1, TEXT("*"), 0, false);
    assert_int_equal(found->count, 1);
    assert_true(generation == patterns_generation(&patterns));
    match_set_drop(found);

    given = match;
    patterns_leave(&patterns, first, 0, true, false);
    assert_null(found);
    assert_true(generation == patterns_generation(&patterns));
    patterns_fini(&patterns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_not_taken_for_one_that_knows_who_joined_right_after),
        cmocka_unit_test(whoever_comes_in_right_after_a_change_has_its_generation),
    };
    return cmocka_run_group_tests_name("patterns_lock", tests, NULL, NULL);
}
