#include "broker/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/route_harness.h"

enum { WORKERS = SCENE_WORKERS, ROOM = SCENE_ROOM };

static struct route_result publish(struct scene *s, struct text name, size_t len)
{
    struct message *m = message_new(len);
    assert_non_null(m);
    memset(m->frames, 'x', len);
    return route_publish(&s->route, RULE, hash_of(s, name), name, m);
}

static struct registry_topic *subscribe(struct scene *s, unsigned worker, struct text name)
{
    struct route_joined joined = subscribe_by(s, RULE, worker, name, NULL);
    assert_int_equal(joined.made, joined.topic->subscribers == 1);
    return joined.topic;
}

static const struct text T = {"stock:A", 7};

static void without_subscribers_nothing_is_numbered_or_posted(void **state)
{
    (void)state;
    struct scene *s = scene_open(2);
    struct route_result result = publish(s, T, 10);
    assert_true(result.offset == 0);
    assert_int_equal(result.subscribers, 0);
    assert_int_equal(result.crowded, -1);
    scene_close(s);
}

/* Broken by a post to worker 0 to 63 only, and by a set whose bits are not taken off: fails. */
static void a_message_is_posted_once_to_each_worker_with_subscribers(void **state)
{
    (void)state;
    struct scene *s = scene_open(WORKERS);
    static const unsigned interested[] = {0, 1, 31, 63, 64, WORKERS - 1};
    struct registry_topic *topic = NULL;
    for (size_t i = 0; i < 6; i++) {
        topic = subscribe(s, interested[i], T);
        subscribe(s, interested[i], T);
    }
    for (uint64_t n = 1; n <= 3; n++) {
        struct route_result result = publish(s, T, 10);
        assert_true(result.offset == n);
        assert_int_equal(result.subscribers, 12);
        assert_int_equal(result.crowded, -1);
    }
    for (unsigned w = 0, i = 0; w < WORKERS; w++) {
        bool in = i < 6 && interested[i] == w;
        assert_int_equal(drain(s, w, topic), in ? 3 : 0);
        i += in;
    }
    /* The second subscriber stays; then it goes too. */
    for (size_t i = 0; i < 6; i++)
        assert_false(route_unsubscribe(&s->route, interested[i], topic, false, false));
    assert_int_equal(publish(s, T, 1).subscribers, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(route_unsubscribe(&s->route, interested[i], topic, true, false), i == 5);
        assert_int_equal(publish(s, T, 1).subscribers, 5 - i);
        assert_int_equal(drain(s, interested[i], topic), 1 + i);
    }
    scene_close(s);
}

static void topics_are_numbered_each_for_itself(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct registry_topic *a = subscribe(s, 0, T);
    struct registry_topic *b = subscribe(s, 0, TEXT("stock:B"));
    assert_true(publish(s, T, 1).offset == 1);
    assert_true(publish(s, T, 1).offset == 2);
    assert_true(publish(s, TEXT("stock:B"), 1).offset == 1);
    assert_true(publish(s, T, 1).offset == 3);
    mailbox_take(&s->boxes[0], &s->trays[0]);
    static const uint64_t offsets[] = {1, 2, 1, 3};
    for (int i = 0; i < 4; i++) {
        struct message *m = next_mail(s, 0);
        assert_true(m->offset == offsets[i]);
        assert_ptr_equal(m->topic, i == 2 ? b : a);
        assert_true(m->hash == (i == 2 ? b : a)->hash);
        message_drop(m);
    }
    route_unsubscribe(&s->route, 0, a, true, false);
    route_unsubscribe(&s->route, 0, b, true, false);
    scene_close(s);
}

static void what_was_published_before_a_subscribe_is_in_the_tray(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct registry_topic *topic = subscribe(s, 0, T);
    publish(s, T, 1);
    publish(s, T, 1);
    assert_int_equal(s->trays[0].count, 0);
    subscribe(s, 0, T);
    assert_int_equal(s->trays[0].count, 2);
    publish(s, T, 1);
    assert_int_equal(s->trays[0].count, 2);
    assert_int_equal(drain(s, 0, topic), 3);
    route_unsubscribe(&s->route, 0, topic, false, false);
    route_unsubscribe(&s->route, 0, topic, true, false);
    scene_close(s);
}

static void a_worker_that_has_shut_down_gets_nothing(void **state)
{
    (void)state;
    struct scene *s = scene_open(2);
    struct registry_topic *topic = subscribe(s, 0, T);
    subscribe(s, 1, T);
    mailbox_close(&s->boxes[0]);
    assert_true(publish(s, T, 1).offset == 1);
    assert_int_equal(drain(s, 0, topic), 0);
    assert_int_equal(drain(s, 1, topic), 1);
    route_unsubscribe(&s->route, 0, topic, true, false);
    route_unsubscribe(&s->route, 1, topic, true, false);
    scene_close(s);
}

static void a_publisher_is_told_who_lags_behind(void **state)
{
    (void)state;
    struct scene *s = scene_open(3);
    struct registry_topic *topic = subscribe(s, 1, T);
    subscribe(s, 2, T);
    assert_int_equal(publish(s, T, ROOM / 2).crowded, -1);
    assert_int_equal(drain(s, 1, topic), 1);
    assert_int_equal(publish(s, T, ROOM / 2).crowded, 2);
    assert_int_equal(drain(s, 2, topic), 2);
    assert_int_equal(publish(s, T, 1).crowded, -1);
    drain(s, 1, topic);
    drain(s, 2, topic);
    route_unsubscribe(&s->route, 1, topic, true, false);
    route_unsubscribe(&s->route, 2, topic, true, false);
    scene_close(s);
}

/* --- patterns --------------------------------------------------------------------------------- */

static void a_message_goes_once_to_each_worker_whatever_matches(void **state)
{
    (void)state;
    struct scene *s = scene_open(WORKERS);
    struct registry_topic *topic = subscribe(s, 0, T);
    struct pattern *star = subscribe_pattern(s, 0, "stock:*");
    assert_ptr_equal(subscribe_pattern(s, 65, "stock:*"), star);
    struct pattern *any = subscribe_pattern(s, 65, ">");
    struct pattern *other = subscribe_pattern(s, 3, "sensor:*");
    struct route_result result = publish_by(s, RULE, T, 1, 3);
    assert_true(result.offset == 3);
    assert_int_equal(result.subscribers, 4);
    for (unsigned w = 0; w < WORKERS; w++)
        assert_int_equal(drain(s, w, topic), w == 0 || w == 65);
    route_unsubscribe(&s->route, 0, topic, true, false);
    result = publish_by(s, RULE, T, 4, 1); /* the topic is there for the patterns */
    assert_true(result.offset == 4);
    assert_int_equal(result.subscribers, 3);
    drain_all(s);
    patterns_leave(&s->route.patterns, star, 0, true, false);
    patterns_leave(&s->route.patterns, star, 65, true, false);
    patterns_leave(&s->route.patterns, any, 65, true, false);
    result = publish_by(s, RULE, T, 5, 1);
    assert_int_equal(result.subscribers, 0);
    assert_null(topic_of(s, T)); /* nothing is left that keeps it */
    patterns_leave(&s->route.patterns, other, 3, true, false);
    scene_close(s);
}

static void a_topic_that_no_pattern_matches_is_not_made(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct pattern *other = subscribe_pattern(s, 0, "sensor:*");
    struct route_result result = publish_by(s, RULE, T, 1, 1);
    assert_true(result.offset == 0 && result.subscribers == 0 && !result.failed);
    assert_null(topic_of(s, T));
    patterns_leave(&s->route.patterns, other, 0, true, false);
    scene_close(s);
}

/* --- histories -------------------------------------------------------------------------------- */

static void assert_kept(struct scene *s, struct route_rule rule, uint64_t first, uint64_t last)
{
    struct route_past all = {.newest = UINT32_MAX};
    struct route_state there = route_history(&s->route, rule, hash_of(s, T), T, &all, UINT32_MAX);
    assert_view(&there.past, first, last, 0);
}

/* Broken by a topic that is only made for subscribers, and by one that goes without them. */
static void a_rule_makes_a_topic_of_what_nobody_subscribes(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct rule rule = rule_keeping(5);
    const struct route_rule five = {&rule, 1};
    struct route_result result = publish_by(s, five, T, 1, 3);
    assert_true(result.offset == 3 && result.subscribers == 0);
    uint64_t epoch = topic_of(s, T)->epoch;
    assert_kept(s, five, 1, 3);
    struct registry_topic *topic = subscribe_by(s, five, 0, T, NULL).topic;
    assert_true(topic->epoch == epoch);
    publish_by(s, five, T, 4, 4);
    drain_all(s);
    assert_false(route_unsubscribe(&s->route, 0, topic, true, false));
    assert_kept(s, five, 3, 7);
    scene_close(s);
}

/* Workers take new rules one after the other. Broken by limits that are set by whoever comes last,
 * whatever its rules: fails. */
static void of_two_workers_the_one_with_newer_rules_is_right(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct rule more = rule_keeping(10), less = rule_keeping(2);
    const struct route_rule older = {&more, 1}, newer = {&less, 2};
    publish_by(s, older, T, 1, 8);
    assert_kept(s, older, 1, 8);
    publish_by(s, newer, T, 9, 1);
    assert_kept(s, newer, 8, 9);
    publish_by(s, older, T, 10, 4); /* it has not heard of them */
    assert_kept(s, older, 12, 13);
    struct registry_topic *topic = subscribe_by(s, older, 0, T, NULL).topic;
    assert_kept(s, older, 12, 13);
    const struct route_rule newest = {&more, 3};
    publish_by(s, newest, T, 14, 1);
    publish_by(s, newer, T, 15, 1);
    assert_kept(s, newer, 12, 15);
    drain_all(s);
    const struct route_rule none = {&rule_default, 4};
    assert_int_equal(publish_by(s, none, T, 16, 1).subscribers, 1);
    assert_null(topic->kept);
    drain_all(s);
    assert_true(route_unsubscribe(&s->route, 0, topic, true, false));
    scene_close(s);
}

static void newer_rules_let_go_of_a_topic_that_is_published_to(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct rule rule = rule_keeping(5);
    publish_by(s, (struct route_rule){&rule, 1}, T, 1, 3);
    struct route_result result = publish_by(s, (struct route_rule){&rule_default, 2}, T, 4, 1);
    assert_int_equal(result.subscribers, 0);
    assert_null(topic_of(s, T));
    assert_int_equal(atomic_load(&s->route.registry.budget.used), 0);
    scene_close(s);
}

static void publishing_keeps_to_the_budget_of_all_topics(void **state)
{
    (void)state;
    enum { BUDGET = 300 * 1000, TOPICS = 50 };
    struct scene *s = scene_open_with(1, BUDGET);
    struct rule rule = rule_keeping(100000);
    const struct route_rule by = {&rule, 1};
    for (unsigned i = 0; i < 2000; i++) {
        char name[16];
        int len = snprintf(name, sizeof name, "t%u", i % TOPICS);
        struct text topic = {name, (size_t)len};
        publish_by(s, by, topic, i, 50);
        assert_true(atomic_load(&s->route.registry.budget.used) <= BUDGET);
        assert_non_null(topic_of(s, topic)); /* what has just come is the newest of all */
    }
    assert_true(atomic_load(&s->route.registry.budget.used) > BUDGET / 2);
    scene_close(s);
}

/* --- comings and goings ----------------------------------------------------------------------- */

static void a_topic_is_watched_while_somebody_watches(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    struct registry_topic *topic = subscribe(s, 0, T);
    assert_false(route_watched(&s->route, topic));
    struct route_joined joined =
        route_subscribe(&s->route, RULE, 0, &s->trays[0], hash_of(s, T), T, true, NULL);
    assert_true(route_watched(&s->route, topic));
    route_watch(&s->route, topic, 1);
    assert_false(route_unsubscribe(&s->route, 0, joined.topic, false, true));
    assert_true(route_watched(&s->route, topic));
    route_watch(&s->route, topic, -1);
    assert_false(route_watched(&s->route, topic));
    patterns_watch(&s->route.patterns, 1);
    assert_true(route_watched(&s->route, topic)); /* perhaps */
    patterns_watch(&s->route.patterns, -1);
    assert_true(route_unsubscribe(&s->route, 0, topic, true, false));
    scene_close(s);
}

/* It has no offset of its own and is not kept. */
static void an_event_is_posted_like_a_message_but_not_numbered(void **state)
{
    (void)state;
    struct scene *s = scene_open(3);
    struct rule rule = rule_keeping(5);
    const struct route_rule by = {&rule, 1};
    struct registry_topic *topic = subscribe_by(s, by, 0, T, NULL).topic;
    struct pattern *any = subscribe_pattern(s, 2, ">");
    struct message *m = message_begin(10);
    m->except = 7;
    route_event(&s->route, by, hash_of(s, T), T, m);
    assert_true(publish_by(s, by, T, 1, 1).offset == 1);
    for (unsigned w = 0; w < 3; w++) {
        mailbox_take(&s->boxes[w], &s->trays[w]);
        m = next_mail(s, w);
        assert_int_equal(m != NULL, w != 1);
        if (!m)
            continue;
        assert_int_equal(m->count, 0);
        assert_ptr_equal(m->topic, topic);
        assert_int_equal(m->except, 7);
        assert_ptr_equal(m->matches->patterns[0], any);
        message_drop(m);
        m = next_mail(s, w);
        assert_int_equal(m->count, 1);
        message_drop(m);
    }
    assert_kept(s, by, 1, 1);
    patterns_leave(&s->route.patterns, any, 2, true, false);
    route_unsubscribe(&s->route, 0, topic, true, false);
    scene_close(s);
}

/* --- many threads ----------------------------------------------------------------------------- */

enum { PUBLISHERS = 2, EACH = 25000, ALL = PUBLISHERS * EACH, COMERS = 3 };

struct crowd {
    struct scene *scene;
    _Atomic uint64_t published; /* the highest offset of a publish that has returned */
    _Atomic unsigned publishing;
};

static void publish_all(void *user)
{
    struct crowd *c = user;
    for (int i = 0; i < EACH; i++) {
        uint64_t offset = publish(c->scene, T, 8).offset;
        uint64_t highest = atomic_load(&c->published);
        while (highest < offset && !atomic_compare_exchange_weak(&c->published, &highest, offset))
            ;
        if (i % 64 == 0)
            uv_sleep(0);
    }
    atomic_fetch_sub(&c->publishing, 1);
}

/* Worker 0 subscribes all the time, and so sees everything. */
static void stay(void *user)
{
    struct crowd *c = user;
    uint64_t last = 0;
    while (last < ALL) {
        struct message *m;
        mailbox_take(&c->scene->boxes[0], &c->scene->trays[0]);
        while ((m = next_mail(c->scene, 0)) != NULL) {
            if (m->offset != last + 1)
                abort();
            last = m->offset;
            message_drop(m);
        }
    }
}

struct comer {
    struct crowd *crowd;
    unsigned worker;
    unsigned cycles;
    unsigned seen; /* with messages that had to come */
};

/* Takes the mail and looks that it goes on where it was; returns the last offset. */
static uint64_t follow(struct scene *s, unsigned worker, uint64_t last)
{
    struct message *m;
    while ((m = next_mail(s, worker)) != NULL) {
        if (last != 0 && m->offset != last + 1)
            abort();
        last = m->offset;
        message_drop(m);
    }
    return last;
}

static void come_and_go(void *user)
{
    struct comer *me = user;
    struct crowd *c = me->crowd;
    struct scene *s = c->scene;
    unsigned w = me->worker;
    for (int cycle = 0; atomic_load(&c->publishing) > 0; cycle++) {
        uint64_t before = atomic_load(&c->published);
        struct route_joined joined =
            route_subscribe(&s->route, RULE, w, &s->trays[w], hash_of(s, T), T, false, NULL);
        struct registry_topic *topic = joined.topic;
        if (!topic || joined.made)
            abort();
        uint64_t after = atomic_load(&c->published);
        if (s->trays[w].at != s->trays[w].count)
            abort(); /* nothing of before is for a worker that had no interest */
        uint64_t last = 0;
        uint64_t seen = 0;
        for (int i = cycle % 16; i < 4; i++) { /* often not at all */
            mailbox_take(&s->boxes[w], &s->trays[w]);
            if (last == 0 && s->trays[w].at < s->trays[w].count) {
                const struct message *first = s->trays[w].mails[s->trays[w].at].item;
                seen = first->offset;
            }
            last = follow(s, w, last);
            uv_sleep(0);
        }
        uint64_t due = atomic_load(&c->published);
        route_unsubscribe(&s->route, w, topic, true, false);
        mailbox_take(&s->boxes[w], &s->trays[w]);
        if (last == 0 && s->trays[w].at < s->trays[w].count) {
            const struct message *first = s->trays[w].mails[s->trays[w].at].item;
            seen = first->offset;
        }
        last = follow(s, w, last);
        if (due > after + PUBLISHERS) {
            /* Nothing published before, everything after, but for what was on its way meanwhile. */
            if (seen <= before || seen > after + PUBLISHERS + 1 || last < due)
                abort();
            me->seen++;
        }
        me->cycles++;
        if (mailbox_take(&s->boxes[w], &s->trays[w]))
            abort(); /* nothing comes behind an unsubscribe */
    }
}

/* Broken by a message posted after its stripe's lock was given back: aborts. */
static void beside_publishers_subscribing_is_exact_and_the_order_is_one(void **state)
{
    (void)state;
    struct crowd c = {.scene = scene_open(1 + COMERS), .publishing = PUBLISHERS};
    struct comer comers[COMERS];
    uv_thread_t threads[PUBLISHERS + 1 + COMERS];
    struct registry_topic *topic = subscribe(c.scene, 0, T);
    assert_int_equal(uv_thread_create(&threads[0], stay, &c), 0);
    for (unsigned i = 0; i < COMERS; i++) {
        comers[i] = (struct comer){&c, i + 1, 0, 0};
        assert_int_equal(uv_thread_create(&threads[1 + i], come_and_go, &comers[i]), 0);
    }
    for (unsigned i = 0; i < PUBLISHERS; i++)
        assert_int_equal(uv_thread_create(&threads[1 + COMERS + i], publish_all, &c), 0);
    for (unsigned i = 0; i < PUBLISHERS + 1 + COMERS; i++)
        uv_thread_join(&threads[i]);
    for (unsigned i = 0; i < COMERS; i++)
        print_message("%u of %u cycles with messages\n", comers[i].seen, comers[i].cycles);
    route_unsubscribe(&c.scene->route, 0, topic, true, false);
    scene_close(c.scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_subscribers_nothing_is_numbered_or_posted),
        cmocka_unit_test(a_message_is_posted_once_to_each_worker_with_subscribers),
        cmocka_unit_test(topics_are_numbered_each_for_itself),
        cmocka_unit_test(what_was_published_before_a_subscribe_is_in_the_tray),
        cmocka_unit_test(a_worker_that_has_shut_down_gets_nothing),
        cmocka_unit_test(a_publisher_is_told_who_lags_behind),
        cmocka_unit_test(a_message_goes_once_to_each_worker_whatever_matches),
        cmocka_unit_test(a_topic_that_no_pattern_matches_is_not_made),
        cmocka_unit_test(a_rule_makes_a_topic_of_what_nobody_subscribes),
        cmocka_unit_test(of_two_workers_the_one_with_newer_rules_is_right),
        cmocka_unit_test(newer_rules_let_go_of_a_topic_that_is_published_to),
        cmocka_unit_test(publishing_keeps_to_the_budget_of_all_topics),
        cmocka_unit_test(a_topic_is_watched_while_somebody_watches),
        cmocka_unit_test(an_event_is_posted_like_a_message_but_not_numbered),
        cmocka_unit_test(beside_publishers_subscribing_is_exact_and_the_order_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
