/* What time and other rules take away. */
#include "broker/sweep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/route_harness.h"

static const struct text T = {"stock:A", 7};

enum { QUIET_SWEEPS = 30, SLICE = 512 /* both as in sweep.c */ };

static unsigned stripe_index(struct scene *s, struct text name)
{
    return (unsigned)(registry_stripe(&s->route.registry, hash_of(s, name)) -
                      s->route.registry.stripes);
}

/* A sweep of that topic's stripe. */
static bool sweep(struct scene *s, const struct rules *rules, struct text name)
{
    return route_sweep(&s->route, rules, stripe_index(s, name));
}

static struct rules *rules_of(struct rule rule)
{
    struct rule *list = malloc(sizeof *list);
    char *match = malloc(1);
    assert_non_null(list);
    assert_non_null(match);
    *match = '>';
    *list = rule;
    list->match = (struct text){match, 1};
    struct rules *rules = rules_new(list, 1);
    assert_non_null(rules);
    return rules;
}

static struct route_rule by(const struct rules *rules)
{
    return (struct route_rule){&rules->list[0], rules->version};
}

/* So many topics of one stripe, whose names are written to `names`. */
static void names_of_one_stripe(struct scene *s, char (*names)[16], size_t count)
{
    unsigned number = 0;
    for (size_t i = 0; i < count; number++) {
        snprintf(names[i], sizeof names[i], "t%u", number);
        i += stripe_index(s, text_of(names[i])) == 7;
    }
}

/* --- topics that only patterns keep ----------------------------------------------------------- */

/* Broken by a topic that goes with its first sweep, by one that never goes, and by a message that
 * does not count: fails. */
static void a_topic_that_only_patterns_keep_goes_when_it_was_quiet_for_long(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct pattern *any = subscribe_pattern(s, 0, ">");
    assert_true(publish_by(s, RULE, T, 1, 1).offset == 1);
    uint64_t epoch = topic_of(s, T)->epoch;
    for (int i = 0; i < QUIET_SWEEPS; i++)
        assert_true(sweep(s, NULL, T));
    assert_true(publish_by(s, RULE, T, 2, 1).offset == 2);
    for (int i = 0; i < QUIET_SWEEPS; i++)
        assert_true(sweep(s, NULL, T));
    assert_true(topic_of(s, T)->epoch == epoch);
    assert_false(sweep(s, NULL, T));
    assert_null(topic_of(s, T));
    /* It begins anew. */
    assert_true(publish_by(s, RULE, T, 3, 1).offset == 1);
    assert_true(topic_of(s, T)->epoch != epoch);
    drain_all(s);
    patterns_leave(&s->route.patterns, any, 0, true, false);
    assert_false(sweep(s, NULL, T)); /* without patterns, at once */
    assert_null(topic_of(s, T));
    scene_close(s);
}

static void a_topic_with_a_subscriber_by_name_stays(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct pattern *any = subscribe_pattern(s, 0, ">");
    struct registry_topic *topic = subscribe_by(s, RULE, 0, T, NULL).topic;
    publish_by(s, RULE, T, 1, 1);
    for (int i = 0; i < 3 * QUIET_SWEEPS; i++)
        assert_false(sweep(s, NULL, T)); /* there is nothing to come back for */
    assert_ptr_equal(topic_of(s, T), topic);
    assert_true(topic->offset == 1);
    drain_all(s);
    /* A pattern keeps it, and nobody by name: it is looked for from now on. */
    assert_false(route_unsubscribe(&s->route, 0, topic, true, false));
    assert_true(sweep(s, NULL, T));
    patterns_leave(&s->route.patterns, any, 0, true, false);
    assert_false(sweep(s, NULL, T));
    assert_null(topic_of(s, T));
    scene_close(s);
}

/* Broken by a stripe that is let grow: fails. */
static void where_there_are_many_a_new_one_makes_others_go(void **state)
{
    (void)state;
    enum { COUNT = 3 * SWEEP_CROWDED };
    static char names[COUNT][16];
    struct scene *s = scene_open(1);
    struct pattern *any = subscribe_pattern(s, 0, ">");
    struct stripe *stripe = &s->route.registry.stripes[7];
    names_of_one_stripe(s, names, COUNT);
    for (int i = 0; i < COUNT; i++) {
        publish_by(s, RULE, text_of(names[i]), 1, 1);
        drain_all(s);
        assert_int_equal(stripe->transients, stripe->topics.count);
        if (i < SWEEP_CROWDED)
            assert_int_equal(stripe->topics.count, i + 1);
        assert_in_range(stripe->topics.count, 1, 2 * SWEEP_CROWDED);
        assert_non_null(topic_of(s, text_of(names[i]))); /* the new one is there */
    }
    patterns_leave(&s->route.patterns, any, 0, true, false);
    while (route_sweep(&s->route, NULL, 7))
        ;
    assert_int_equal(stripe->topics.count, 0);
    scene_close(s);
}

/* A slice at a time, and all of them in the end. */
static void a_sweep_looks_at_a_slice_and_the_next_goes_on(void **state)
{
    (void)state;
    enum { COUNT = 2 * SLICE + 100 };
    static char names[COUNT][16];
    struct scene *s = scene_open(1);
    struct rules *keeping = rules_of(rule_keeping(5));
    struct rules *none = rules_of(rule_default);
    struct stripe *stripe = &s->route.registry.stripes[7];
    names_of_one_stripe(s, names, COUNT);
    for (int i = 0; i < COUNT; i++)
        publish_by(s, by(keeping), text_of(names[i]), 1, 1);
    assert_int_equal(stripe->keepers.count, COUNT);
    assert_true(route_sweep(&s->route, none, 7));
    assert_int_equal(stripe->keepers.count, COUNT - SLICE);
    assert_true(route_sweep(&s->route, none, 7));
    assert_false(route_sweep(&s->route, none, 7));
    assert_int_equal(stripe->topics.count, 0);
    assert_int_equal(stripe->transients, 0);
    assert_int_equal(atomic_load(&s->route.registry.budget.used), 0);
    rules_drop(keeping);
    rules_drop(none);
    scene_close(s);
}

/* --- what is kept ----------------------------------------------------------------------------- */

/* Broken by a sweep that only looks at the age: fails. */
static void an_idle_topic_gets_the_limits_of_newer_rules(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct rules *ten = rules_of(rule_keeping(10));
    struct rules *three = rules_of(rule_keeping(3));
    struct rules *none = rules_of(rule_default);
    /* With patterns in use, what keeps nothing any more need not be quiet for long. */
    struct pattern *other = subscribe_pattern(s, 0, "sensor:>");
    publish_by(s, by(ten), T, 1, 10);
    struct registry_topic *topic = topic_of(s, T);
    assert_int_equal(topic->kept->history.count, 10);
    sweep(s, ten, T);
    assert_int_equal(topic->kept->history.count, 10);
    assert_true(sweep(s, three, T));
    assert_int_equal(topic->kept->history.count, 3);
    sweep(s, ten, T); /* a worker that has older rules still */
    assert_int_equal(topic->kept->history.count, 3);
    assert_int_equal(topic->kept->version, three->version);
    assert_false(sweep(s, none, T));
    assert_null(topic_of(s, T));
    patterns_leave(&s->route.patterns, other, 0, true, false);
    rules_drop(ten);
    rules_drop(three);
    rules_drop(none);
    scene_close(s);
}

static void a_subscribed_topic_loses_what_it_keeps_but_goes_on(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct rules *ten = rules_of(rule_keeping(10));
    struct rules *none = rules_of(rule_default);
    struct registry_topic *topic = subscribe_by(s, by(ten), 0, T, NULL).topic;
    publish_by(s, by(ten), T, 1, 4);
    assert_false(sweep(s, none, T));
    assert_ptr_equal(topic_of(s, T), topic);
    assert_null(topic->kept);
    assert_true(publish_by(s, by(none), T, 5, 1).offset == 5);
    drain_all(s);
    assert_true(route_unsubscribe(&s->route, 0, topic, true, false));
    rules_drop(ten);
    rules_drop(none);
    scene_close(s);
}

/* With an age of a microsecond everything is too old when it is looked at next. */
static void what_is_too_old_goes_and_with_it_the_topic(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct rule rule = rule_keeping(10);
    rule.history.age_us = 1;
    struct rules *brief = rules_of(rule);
    rule.history.retain = true;
    struct rules *retains = rules_of(rule);
    publish_by(s, by(brief), T, 1, 4);
    while (sweep(s, brief, T)) /* once, unless the clock stands still */
        ;
    assert_null(topic_of(s, T));
    publish_by(s, by(retains), T, 1, 4);
    uint64_t patience = 100000;
    while (topic_of(s, T)->kept->history.count > 1 && --patience > 0)
        sweep(s, retains, T);
    for (int i = 0; i < 3; i++)
        assert_true(sweep(s, retains, T));
    assert_int_equal(topic_of(s, T)->kept->history.count, 1); /* the newest stays */
    assert_true(topic_of(s, T)->kept->history.oldest == 4);
    rules_drop(brief);
    rules_drop(retains);
    scene_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_that_only_patterns_keep_goes_when_it_was_quiet_for_long),
        cmocka_unit_test(a_topic_with_a_subscriber_by_name_stays),
        cmocka_unit_test(where_there_are_many_a_new_one_makes_others_go),
        cmocka_unit_test(a_sweep_looks_at_a_slice_and_the_next_goes_on),
        cmocka_unit_test(an_idle_topic_gets_the_limits_of_newer_rules),
        cmocka_unit_test(a_subscribed_topic_loses_what_it_keeps_but_goes_on),
        cmocka_unit_test(what_is_too_old_goes_and_with_it_the_topic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
