#include "broker/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Rules with these patterns, told apart by `max_bytes`: 1 for the first. */
static struct rules *make(const char *const *patterns, size_t count)
{
    struct rule *list = calloc(count ? count : 1, sizeof *list);
    assert_non_null(list);
    for (size_t i = 0; i < count; i++) {
        list[i] = rule_default;
        list[i].match = text_of(strdup(patterns[i]));
        list[i].max_bytes = i + 1;
    }
    struct rules *rules = rules_new(list, count);
    assert_non_null(rules);
    return rules;
}

/* Which rule it is, from 1; 0: none. */
static size_t found(const struct rules *rules, const char *topic)
{
    const struct rule *rule = rules_find(rules, text_of(topic));
    assert_non_null(rule);
    assert_true((rule == &rule_default) == (rule->max_bytes == 0));
    return rule->max_bytes;
}

static void without_a_rule_everyone_may_do_everything_and_nothing_is_kept(void **state)
{
    (void)state;
    const char *const other[] = {"other"};
    struct rules *rules = make(other, 1);
    const struct rule *rule = rules_find(NULL, TEXT("any"));
    assert_ptr_equal(rules_find(rules, TEXT("any")), rule);
    assert_int_equal(rule->publish, ACCESS_EVERYONE);
    assert_int_equal(rule->subscribe, ACCESS_EVERYONE);
    assert_int_equal(rule->policy, POLICY_DISCONNECT);
    assert_true(rule->presence);
    assert_int_equal(rule->max_bytes, 0);
    assert_int_equal(rule->history.messages, 0);
    assert_false(rule->history.retain);
    rules_drop(rules);
}

static void the_first_rule_that_matches_counts(void **state)
{
    (void)state;
    const char *const patterns[] = {
        "stock:AAPL", "stock:*", "stock:>", "*:AAPL", "stock:AAPL", "sensor:*:heat", "lone"};
    struct rules *rules = make(patterns, sizeof patterns / sizeof patterns[0]);
    static const struct {
        const char *topic;
        size_t rule;
    } rows[] = {
        {"stock:AAPL", 1},
        {"stock:MSFT", 2},
        {"stock:", 2},
        {"stock:US:MSFT", 3},
        {"stock:AAPL:", 3},
        {"bond:AAPL", 4},
        {"stock", 0},
        {"stock:AAP", 2},
        {"stock:AAPLE", 2},
        {"sensor:1:heat", 6},
        {"sensor:1:heating", 0},
        {"sensor:heat", 0},
        {"lone", 7},
        {"lon", 0},
        {"lonely", 0},
        {"lone:", 0},
        {"bond", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (found(rules, rows[i].topic) != rows[i].rule)
            fail_msg("%s: rule %zu", rows[i].topic, found(rules, rows[i].topic));
    rules_drop(rules);
}

static void a_rule_for_all_ends_the_search(void **state)
{
    (void)state;
    const char *const patterns[] = {"a", ">", "b"};
    struct rules *rules = make(patterns, 3);
    assert_int_equal(found(rules, "a"), 1);
    assert_int_equal(found(rules, "b"), 2);
    assert_int_equal(found(rules, "c:d:e"), 2);
    rules_drop(rules);
}

static void whatever_is_newer_has_a_greater_version_and_none_at_all_have_0(void **state)
{
    (void)state;
    struct rules *empty = make(NULL, 0);
    struct rules *other = rules_new(NULL, 0);
    assert_non_null(other);
    assert_int_equal(rules_version(NULL), 0);
    assert_true(rules_version(empty) > 0);
    assert_true(rules_version(other) > rules_version(empty));
    assert_int_equal(found(empty, "any"), 0);
    assert_int_equal(found(other, "any"), 0);
    rules_drop(empty);
    rules_drop(other);
    rules_drop(NULL);
}

/* --- the box ---------------------------------------------------------------------------------- */

static void what_was_taken_outlives_what_replaces_it(void **state)
{
    (void)state;
    const char *const old[] = {"old"};
    const char *const new[] = {"new", "newer"};
    struct rules_box box;
    rules_box_init(&box);
    assert_null(rules_box_take(&box));
    rules_box_put(&box, make(old, 1));
    struct rules *taken = rules_box_take(&box);
    rules_box_put(&box, make(new, 2));
    assert_int_equal(found(taken, "old"), 1);
    assert_int_equal(found(taken, "new"), 0);
    rules_drop(taken);
    taken = rules_box_take(&box);
    assert_int_equal(found(taken, "newer"), 2);
    rules_box_put(&box, NULL);
    assert_null(rules_box_take(&box));
    rules_hold(taken);
    rules_drop(taken);
    assert_int_equal(found(taken, "newer"), 2);
    rules_box_put(&box, taken); /* the box's now */
    rules_box_fini(&box);
}

enum { ROUNDS = 2000 };

static void *take_again_and_again(void *user)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct rules *rules = rules_box_take(user);
        if (found(rules, "b") != 2)
            return user;
        rules_drop(rules);
    }
    return NULL;
}

static void takers_never_see_rules_that_are_gone(void **state)
{
    (void)state;
    const char *const patterns[] = {"a", "b"};
    struct rules_box box;
    pthread_t takers[3];
    rules_box_init(&box);
    rules_box_put(&box, make(patterns, 2));
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&takers[i], NULL, take_again_and_again, &box), 0);
    for (unsigned i = 0; i < ROUNDS; i++)
        rules_box_put(&box, make(patterns, 2));
    for (size_t i = 0; i < 3; i++) {
        void *wrong;
        pthread_join(takers[i], &wrong);
        assert_null(wrong);
    }
    rules_box_fini(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_rule_everyone_may_do_everything_and_nothing_is_kept),
        cmocka_unit_test(the_first_rule_that_matches_counts),
        cmocka_unit_test(a_rule_for_all_ends_the_search),
        cmocka_unit_test(whatever_is_newer_has_a_greater_version_and_none_at_all_have_0),
        cmocka_unit_test(what_was_taken_outlives_what_replaces_it),
        cmocka_unit_test(takers_never_see_rules_that_are_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
