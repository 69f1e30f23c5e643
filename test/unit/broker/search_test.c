/* Topics and the patterns that match them: what is remembered, and for how long. */
#include "broker/search.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/route_harness.h"

static const struct text T = {"stock:A", 7};

enum { KEPT_MATCHES = 64 /* as in search.c */ };

static void leave_pattern(struct scene *s, struct pattern *pattern, unsigned worker)
{
    patterns_leave(&s->route.patterns, pattern, worker, true, false);
}

/* Publishes one, and looks at what the mail of worker 0 says of the patterns. */
static void assert_goes_to(struct scene *s, struct text name, uint32_t matches)
{
    struct message *m;
    publish_by(s, RULE, name, 1, 1);
    mailbox_take(&s->boxes[0], &s->trays[0]);
    m = next_mail(s, 0);
    assert_non_null(m);
    assert_int_equal(m->matches ? m->matches->count : 0, matches);
    if (m->matches)
        assert_true(text_equal(m->matches->topic, name));
    message_drop(m);
    assert_null(next_mail(s, 0));
}

/* Broken by an index that is asked for every message (the set is another one), and by one that is
 * not asked again when a pattern has come or gone. */
static void a_topic_remembers_its_patterns_until_some_come_or_go(void **state)
{
    (void)state;
    struct scene *s = scene_open(2);
    struct registry_topic *topic = subscribe_by(s, RULE, 0, T, NULL).topic;
    assert_goes_to(s, T, 0);
    assert_true(topic->generation == 0); /* nobody uses patterns: nothing was asked */
    struct pattern *star = subscribe_pattern(s, 0, "stock:*");
    assert_goes_to(s, T, 1);
    struct match_set *set = topic->matches;
    assert_non_null(set);
    assert_int_equal(atomic_load(&set->references), 1);
    assert_goes_to(s, T, 1);
    assert_ptr_equal(topic->matches, set);
    struct pattern *other = subscribe_pattern(s, 0, "sensor:>"); /* does not match */
    assert_goes_to(s, T, 1);
    struct pattern *any = subscribe_pattern(s, 0, ">");
    assert_goes_to(s, T, 2);
    assert_ptr_equal(topic->matches->patterns[0], star); /* the oldest is first */
    leave_pattern(s, star, 0);
    assert_goes_to(s, T, 1);
    assert_ptr_equal(topic->matches->patterns[0], any);
    leave_pattern(s, any, 0);
    assert_goes_to(s, T, 0);
    assert_null(topic->matches);
    assert_true(topic->generation != 0); /* none is an answer too */
    leave_pattern(s, other, 0);
    assert_goes_to(s, T, 0);
    route_unsubscribe(&s->route, 0, topic, true, false);
    scene_close(s);
}

/* Another worker with the same pattern changes who gets it, so the set is asked for anew. */
static void a_pattern_s_next_worker_is_heard_of(void **state)
{
    (void)state;
    struct scene *s = scene_open(SCENE_WORKERS);
    struct pattern *star = subscribe_pattern(s, 0, "stock:*");
    assert_int_equal(publish_by(s, RULE, T, 1, 1).subscribers, 1);
    assert_ptr_equal(subscribe_pattern(s, SCENE_WORKERS - 1, "stock:*"), star);
    assert_int_equal(publish_by(s, RULE, T, 1, 1).subscribers, 2);
    struct registry_topic *topic = topic_of(s, T);
    assert_int_equal(drain(s, 0, topic), 2);
    assert_int_equal(drain(s, SCENE_WORKERS - 1, topic), 1);
    leave_pattern(s, star, 0);
    assert_int_equal(publish_by(s, RULE, T, 1, 1).subscribers, 1);
    assert_int_equal(drain(s, 0, topic), 0);
    assert_int_equal(drain(s, SCENE_WORKERS - 1, topic), 1);
    leave_pattern(s, star, SCENE_WORKERS - 1);
    scene_close(s);
}

/* Broken by a large set that is remembered all the same, and by one that stays remembered when it
 * has become large: fails. */
static void many_patterns_are_not_remembered_but_all_get_it(void **state)
{
    (void)state;
    enum { MANY = KEPT_MATCHES + 1, SEGMENTS = 7 };
    struct scene *s = scene_open(1);
    static struct pattern *patterns[MANY];
    const struct text name = TEXT("a:b:c:d:e:f:g");
    struct registry_topic *topic = subscribe_by(s, RULE, 0, name, NULL).topic;
    for (int i = 0; i < MANY; i++) { /* each segment itself, or any */
        char text[2 * SEGMENTS];
        memcpy(text, "a:b:c:d:e:f:g", sizeof text);
        for (int k = 0; k < SEGMENTS; k++)
            if (!((i + 1) >> k & 1))
                text[2 * k] = '*';
        patterns[i] = subscribe_pattern(s, 0, text);
        assert_goes_to(s, name, (uint32_t)i + 1);
        assert_int_equal(topic->matches != NULL, i + 1 <= KEPT_MATCHES);
        assert_int_equal(topic->generation != 0, i + 1 <= KEPT_MATCHES);
    }
    assert_goes_to(s, name, MANY);
    leave_pattern(s, patterns[MANY - 1], 0);
    assert_goes_to(s, name, MANY - 1);
    assert_int_equal(topic->matches->count, MANY - 1);
    for (int i = 0; i < MANY - 1; i++)
        leave_pattern(s, patterns[i], 0);
    route_unsubscribe(&s->route, 0, topic, true, false);
    scene_close(s);
}

/* A set that nobody but mail holds stays valid. */
static void mail_keeps_the_patterns_it_goes_to(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct pattern *star = subscribe_pattern(s, 0, "stock:*");
    publish_by(s, RULE, T, 1, 1);
    leave_pattern(s, star, 0);
    publish_by(s, RULE, T, 1, 1); /* not to be had by a pattern any more */
    mailbox_take(&s->boxes[0], &s->trays[0]);
    struct message *m = next_mail(s, 0);
    assert_ptr_equal(m->matches->patterns[0], star);
    assert_true(text_equal(pattern_text(&s->route.patterns, star), TEXT("stock:*")));
    message_drop(m);
    assert_null(next_mail(s, 0));
    scene_close(s);
}

/* Broken by patterns that are asked whatever the rule says: fails. */
static void a_topic_that_not_everyone_may_have_is_not_for_patterns(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct rule closed = rule_default;
    struct route_audience audience;
    closed.subscribe = ACCESS_TOKEN;
    struct route_rule by = {&closed, 1};
    struct pattern *star = subscribe_pattern(s, 0, "stock:*");
    assert_int_equal(publish_by(s, by, T, 1, 1).subscribers, 0);
    assert_null(topic_of(s, T));
    assert_true(route_audience(&s->route, by, hash_of(s, T), T, &audience));
    assert_null(audience.matches);
    assert_true(audience.workers[0] == 0);
    /* Also when the topic remembers them, from before there was such a rule. */
    assert_int_equal(publish_by(s, RULE, T, 1, 1).subscribers, 1);
    assert_int_equal(publish_by(s, by, T, 1, 1).subscribers, 0);
    assert_int_equal(drain(s, 0, topic_of(s, T)), 1);
    leave_pattern(s, star, 0);
    scene_close(s);
}

static void the_audience_is_who_gets_it(void **state)
{
    (void)state;
    struct scene *s = scene_open(SCENE_WORKERS);
    struct route_audience audience;
    memset(&audience, 0xff, sizeof audience);
    assert_true(route_audience(&s->route, RULE, hash_of(s, T), T, &audience));
    assert_null(audience.matches);
    assert_int_equal(audience.subscribers, 0);
    for (size_t i = 0; i < MAILBOX_WAITERS_MAX / 64; i++)
        assert_true(audience.workers[i] == 0);
    assert_null(topic_of(s, T)); /* asking makes none */
    struct pattern *star = subscribe_pattern(s, 65, "stock:*");
    assert_true(route_audience(&s->route, RULE, hash_of(s, T), T, &audience));
    assert_true(audience.workers[0] == 0 && audience.workers[1] == 2);
    assert_ptr_equal(audience.matches->patterns[0], star);
    assert_int_equal(audience.subscribers, 1);
    assert_null(topic_of(s, T));
    match_set_drop(audience.matches);
    struct registry_topic *topic = subscribe_by(s, RULE, 3, T, NULL).topic;
    for (int again = 0; again < 2; again++) { /* asked for, and remembered */
        assert_true(route_audience(&s->route, RULE, hash_of(s, T), T, &audience));
        assert_true(audience.workers[0] == 8 && audience.workers[1] == 2);
        assert_int_equal(audience.subscribers, 2);
        match_set_drop(audience.matches);
    }
    assert_non_null(topic->matches);
    route_unsubscribe(&s->route, 3, topic, true, false);
    assert_ptr_equal(topic_of(s, T), topic); /* patterns keep it */
    assert_true(route_audience(&s->route, RULE, hash_of(s, T), T, &audience));
    assert_true(audience.workers[0] == 0 && audience.workers[1] == 2);
    match_set_drop(audience.matches);
    leave_pattern(s, star, 65);
    scene_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_remembers_its_patterns_until_some_come_or_go),
        cmocka_unit_test(a_pattern_s_next_worker_is_heard_of),
        cmocka_unit_test(many_patterns_are_not_remembered_but_all_get_it),
        cmocka_unit_test(mail_keeps_the_patterns_it_goes_to),
        cmocka_unit_test(a_topic_that_not_everyone_may_have_is_not_for_patterns),
        cmocka_unit_test(the_audience_is_who_gets_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
