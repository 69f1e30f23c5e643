/* Messages and topics without memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "broker/local.h"
#include "broker/message.h"
#include "broker/registry.h"
#include "support/failing_alloc.h"
#include "support/route_harness.h"

/* What a slab's blocks come from is not wrapped by the linker. */
static unsigned blocks_until_failure; /* 0: none fails */

void *aligned_alloc(size_t alignment, size_t size)
{
    void *bytes;
    if (blocks_until_failure > 0 && --blocks_until_failure == 0)
        return NULL;
    return posix_memalign(&bytes, alignment, size) == 0 ? bytes : NULL;
}

static void a_message_needs_one_allocation(void **state)
{
    (void)state;
    alloc_fail(1);
    assert_null(message_new(10));
    assert_true(alloc_failed());
    alloc_fail(2);
    struct message *m = message_new(10);
    assert_non_null(m);
    assert_false(alloc_failed());
    message_drop(m);
}

/* --- the registry ----------------------------------------------------------------------------- */

static struct registry registry;

static struct registry_topic *join(struct text name, bool *made)
{
    uint64_t hash = registry_hash(&registry, name);
    struct stripe *stripe = registry_stripe(&registry, hash);
    lock_take(&stripe->lock);
    struct registry_topic *topic = registry_find(&registry, stripe, hash, name);
    *made = !topic;
    if (!topic)
        topic = registry_make(&registry, stripe, hash, name);
    if (topic)
        registry_join(stripe, topic, 0, false);
    lock_give(&stripe->lock);
    return topic;
}

static struct registry_topic *find(struct text name)
{
    uint64_t hash = registry_hash(&registry, name);
    struct stripe *stripe = registry_stripe(&registry, hash);
    lock_take(&stripe->lock);
    struct registry_topic *topic = registry_find(&registry, stripe, hash, name);
    lock_give(&stripe->lock);
    return topic;
}

static void leave(struct registry_topic *topic)
{
    struct stripe *stripe = registry_stripe(&registry, topic->hash);
    lock_take(&stripe->lock);
    registry_leave(&registry, stripe, topic, 0, topic->subscribers == 1, false);
    lock_give(&stripe->lock);
}

/* Broken by a topic that is kept when its stripe's table did not take it: a leak, seen by the
 * address sanitizer. */
static void a_join_of_the_registry_without_memory_changes_nothing(void **state)
{
    (void)state;
    bool made;
    registry_init(&registry, 1, 0);
    for (unsigned fail_at = 1; fail_at <= 2; fail_at++) { /* the topic, its stripe's table */
        alloc_fail(fail_at);
        assert_null(join(TEXT("t"), &made));
        assert_true(alloc_failed());
        assert_null(find(TEXT("t")));
    }
    struct registry_topic *topic = join(TEXT("t"), &made);
    assert_true(made);
    alloc_fail(1);
    assert_ptr_equal(join(TEXT("t"), &made), topic); /* no memory needed */
    assert_false(alloc_failed());
    assert_int_equal(topic->subscribers, 2);
    leave(topic);
    leave(topic);
    registry_fini(&registry);
}

/* --- local topics ----------------------------------------------------------------------------- */

enum { MANY = 70 };

struct local_scene {
    struct local_topics local;
    struct registry_topic *topics; /* MANY */
    struct subscriber subscribers[MANY];
};

static void local_open(struct local_scene *s)
{
    s->topics = calloc(MANY, sizeof *s->topics);
    assert_non_null(s->topics);
    local_init(&s->local);
    for (size_t i = 0; i < MANY; i++) {
        s->topics[i].hash = i * 0x9e3779b97f4a7c15;
        subscriber_init(&s->subscribers[i]);
    }
}

static bool join_local(
    struct local_topics *l, struct registry_topic *topic, struct subscriber *subscriber)
{
    return local_join(l, (struct local_key){topic->hash, topic, false}, subscriber,
        (struct join){.policy = POLICY_DISCONNECT});
}

static struct local_topic *local_of(struct local_scene *s, size_t t)
{
    return local_find(&s->local, s->topics[t].hash, &s->topics[t]);
}

static void local_close(struct local_scene *s)
{
    struct local_topic *any;
    for (size_t i = 0; i < MANY; i++)
        while ((any = subscriber_any(&s->subscribers[i])) != NULL)
            local_leave(&s->local, any, &s->subscribers[i]);
    local_fini(&s->local);
    free(s->topics);
}

/* Lets the n-th allocation of this join fail, for all n; returns how many that were. */
static unsigned join_at_last(struct local_scene *s, size_t t, size_t k)
{
    struct subscriber *subscriber = &s->subscribers[k];
    struct local_topic *before = local_of(s, t);
    uint32_t on_topic = before ? before->count : 0;
    uint32_t subscriptions = subscriber->count;
    uint32_t items = s->local.topics.used;
    for (unsigned fail_at = 1;; fail_at++) {
        alloc_fail(fail_at);
        bool joined = join_local(&s->local, &s->topics[t], subscriber);
        bool failed = alloc_failed();
        assert_int_equal(joined, !failed);
        if (!failed)
            return fail_at - 1;
        assert_int_equal(s->local.topics.used, items);
        assert_ptr_equal(local_of(s, t), before);
        assert_int_equal(before ? before->count : 0, on_topic);
        assert_int_equal(subscriber->count, subscriptions);
        for (size_t i = 0; i < MANY; i++) {
            struct local_topic *topic = local_of(s, i);
            struct subscription *found = topic ? subscriber_find(subscriber, topic) : NULL;
            if (found)
                assert_ptr_equal(local_places(topic)[found->place].subscriber, subscriber);
        }
    }
}

/* Broken by a new topic that stays when there is no memory for the subscriber's half: fails. */
static void a_local_join_without_memory_changes_nothing(void **state)
{
    (void)state;
    static struct local_scene s;
    unsigned failures = 0;
    local_open(&s);
    for (size_t i = 0; i < MANY; i++) { /* one subscriber, ever more topics */
        failures += join_at_last(&s, i, 0);
        if (i > 0)
            failures += join_at_last(&s, 0, i); /* one topic, ever more subscribers */
    }
    assert_in_range(failures, 20, 200);
    local_close(&s);
}

static void a_local_join_without_a_block_for_the_topic_changes_nothing(void **state)
{
    (void)state;
    static struct local_scene s;
    local_open(&s);
    blocks_until_failure = 1;
    assert_false(join_local(&s.local, s.topics, s.subscribers));
    assert_int_equal(blocks_until_failure, 0);
    assert_null(local_of(&s, 0));
    assert_int_equal(s.subscribers[0].count, 0);
    assert_true(join_local(&s.local, s.topics, s.subscribers));
    local_close(&s);
}

/* A table that cannot shrink stays as it is. */
static void leaving_needs_no_memory(void **state)
{
    (void)state;
    static struct local_scene s;
    local_open(&s);
    for (size_t i = 0; i < MANY; i++) {
        assert_true(join_local(&s.local, &s.topics[i], &s.subscribers[0]));
        if (i > 0)
            assert_true(join_local(&s.local, &s.topics[0], &s.subscribers[i]));
    }
    for (size_t i = MANY; i-- > 0;) {
        alloc_fail(1);
        local_leave(&s.local, local_of(&s, i), &s.subscribers[0]);
        alloc_fail(1);
        if (i > 0)
            local_leave(&s.local, local_of(&s, 0), &s.subscribers[i]);
        alloc_failed();
        assert_int_equal(s.subscribers[0].count, i);
    }
    local_close(&s);
}

/* --- the route -------------------------------------------------------------------------------- */

static const struct text T = {"t", 1};

/* Mailboxes die without memory, so they get what they need before. */
static void warm_up(struct scene *s)
{
    struct registry_topic *topic = subscribe_by(s, RULE, 0, TEXT("warm"), NULL).topic;
    for (int i = 0; i < 2; i++) { /* the box and the tray, which it changes places with */
        publish_by(s, RULE, TEXT("warm"), 1, 1);
        mailbox_take(&s->boxes[0], &s->trays[0]);
    }
    drain_all(s);
    route_unsubscribe(&s->route, 0, topic, true, false);
}

/* Either it goes nowhere, and that is said, or it is numbered and goes to all. What is kept of it
 * is gapless. */
static void a_publish_without_memory_goes_nowhere_or_everywhere(void **state)
{
    (void)state;
    unsigned refused = 0, unkept = 0;
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        struct scene *s = scene_open(1);
        struct rule rule = rule_keeping(10);
        const struct route_rule by = {&rule, 1};
        struct message *m = numbers(1, 2);
        warm_up(s);
        struct pattern *any = subscribe_pattern(s, 0, ">");
        alloc_fail(n);
        struct route_result result = route_publish(&s->route, by, hash_of(s, T), T, m);
        failed = alloc_failed();
        refused += result.failed;
        if (result.failed) {
            assert_true(failed && result.offset == 0 && result.subscribers == 0);
            assert_null(topic_of(s, T));
        } else {
            assert_true(result.offset == 2 && result.subscribers == 1);
            assert_int_equal(drain(s, 0, topic_of(s, T)), 1);
        }
        assert_false(mailbox_take(&s->boxes[0], &s->trays[0]));
        uint64_t before = result.offset;
        assert_true(publish_by(s, by, T, before + 1, 3).offset == before + 3);
        drain_all(s);
        struct route_past all = {.newest = 100};
        struct route_state there = route_history(&s->route, by, hash_of(s, T), T, &all, 100);
        unkept += there.past.first == before + 1 && before > 0;
        assert_true(there.past.first == 1 || there.past.first == before + 1);
        uint64_t first = there.past.first;
        assert_view(&there.past, first, before + 3, 0);
        patterns_leave(&s->route.patterns, any, 0, true, false);
        scene_close(s);
    }
    assert_true(refused > 1);
    assert_true(unkept > 0);
}

static void a_subscribe_without_memory_changes_nothing(void **state)
{
    (void)state;
    struct scene *s = scene_open(1);
    warm_up(s);
    struct route_joined joined;
    unsigned n = 1;
    for (bool failed = true; failed; n++) {
        alloc_fail(n);
        joined = route_subscribe(
            &s->route, RULE, 0, &s->trays[0], hash_of(s, T), T, true, &(struct route_past){0});
        failed = alloc_failed();
        history_view_fini(&joined.past);
        assert_int_equal(joined.topic == NULL, failed);
        assert_ptr_equal(topic_of(s, T), joined.topic);
    }
    assert_true(n > 2);
    assert_true(route_unsubscribe(&s->route, 0, joined.topic, true, true));
    scene_close(s);
}

static int drain_events(struct scene *s)
{
    int count = 0;
    struct message *m;
    mailbox_take(&s->boxes[0], &s->trays[0]);
    for (; (m = next_mail(s, 0)) != NULL; count++) {
        assert_int_equal(m->count, 0);
        message_drop(m);
    }
    return count;
}

/* Nobody gets it then; and it is given back. */
static void an_event_and_a_question_without_memory_are_nothing(void **state)
{
    (void)state;
    unsigned refused = 0;
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        struct scene *s = scene_open(1);
        struct route_audience audience;
        warm_up(s);
        struct registry_topic *topic = subscribe_by(s, RULE, 0, T, NULL).topic;
        struct pattern *any = subscribe_pattern(s, 0, ">");
        struct message *m = message_begin(4);
        alloc_fail(n);
        route_event(&s->route, RULE, hash_of(s, T), T, m);
        failed = alloc_failed();
        assert_int_equal(drain_events(s), !failed);
        patterns_leave(&s->route.patterns, any, 0, true, false);
        any = subscribe_pattern(s, 0, "*");
        alloc_fail(n);
        bool known = route_audience(&s->route, RULE, hash_of(s, T), T, &audience);
        failed |= alloc_failed();
        refused += !known;
        assert_int_equal(audience.matches != NULL, known);
        match_set_drop(audience.matches);
        patterns_leave(&s->route.patterns, any, 0, true, false);
        route_unsubscribe(&s->route, 0, topic, true, false);
        scene_close(s);
    }
    assert_true(refused > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_needs_one_allocation),
        cmocka_unit_test(a_join_of_the_registry_without_memory_changes_nothing),
        cmocka_unit_test(a_local_join_without_memory_changes_nothing),
        cmocka_unit_test(a_local_join_without_a_block_for_the_topic_changes_nothing),
        cmocka_unit_test(leaving_needs_no_memory),
        cmocka_unit_test(a_publish_without_memory_goes_nowhere_or_everywhere),
        cmocka_unit_test(a_subscribe_without_memory_changes_nothing),
        cmocka_unit_test(an_event_and_a_question_without_memory_are_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
