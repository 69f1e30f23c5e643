#include "broker/local.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "support/dying.h"
#include "support/random.h"

/* Topics as the registry would make them; local topics look at the hash and the address only. */
static struct registry_topic *topics_new(struct random *r, size_t count, uint64_t mask)
{
    struct registry_topic *topics = calloc(count, sizeof *topics);
    assert_non_null(topics);
    for (size_t i = 0; i < count; i++)
        topics[i].hash = random_next(r) & mask;
    return topics;
}

/* A subscription at level 1. */
static bool join(struct local_topics *l, struct registry_topic *topic, struct subscriber *s)
{
    return local_join(l, (struct local_key){topic->hash, topic, false}, s,
        (struct join){.policy = POLICY_DISCONNECT});
}

/* Both halves of every subscription of `s` lead to each other. Returns how many there are. */
static uint32_t assert_halves(struct subscriber *s)
{
    struct subscription *slots = s->cap == 1 ? &s->one : s->many;
    uint32_t found = 0;
    for (uint32_t i = 0; i < s->cap; i++) {
        if (!slots[i].topic)
            continue;
        assert_in_range(slots[i].place, 0, slots[i].topic->count - 1);
        const struct place *place = &local_places(slots[i].topic)[slots[i].place];
        assert_ptr_equal(place->subscriber, s);
        assert_int_equal(place->slot, i);
        found++;
    }
    assert_int_equal(found, s->count);
    return found;
}

static void assert_topic_halves(struct local_topic *topic)
{
    struct place *places = local_places(topic);
    assert_in_range(topic->count, 1, topic->cap);
    for (uint32_t i = 0; i < topic->count; i++) {
        struct subscriber *s = places[i].subscriber;
        struct subscription *slots = s->cap == 1 ? &s->one : s->many;
        assert_in_range(places[i].slot, 0, s->cap - 1);
        assert_ptr_equal(slots[places[i].slot].topic, topic);
        assert_int_equal(slots[places[i].slot].place, i);
    }
}

/* --- against a table of bits ------------------------------------------------------------------ */

enum { SUBSCRIBERS = 90, TOPICS = 120 };

struct model {
    struct local_topics local;
    struct registry_topic *topics;
    struct subscriber subscribers[SUBSCRIBERS];
    bool on[SUBSCRIBERS][TOPICS];
    uint32_t of_topic[TOPICS];
    uint32_t of_subscriber[SUBSCRIBERS];
};

static struct local_topic *find(struct model *m, size_t t)
{
    return local_find(&m->local, m->topics[t].hash, &m->topics[t]);
}

static void toggle(struct model *m, size_t s, size_t t)
{
    struct subscriber *subscriber = &m->subscribers[s];
    if (m->on[s][t]) {
        m->of_topic[t]--;
        m->of_subscriber[s]--;
        assert_int_equal(local_leave(&m->local, find(m, t), subscriber), m->of_topic[t] == 0);
    } else {
        m->of_topic[t]++;
        m->of_subscriber[s]++;
        assert_true(join(&m->local, &m->topics[t], subscriber));
    }
    m->on[s][t] = !m->on[s][t];
}

static void assert_same(struct model *m)
{
    for (size_t t = 0; t < TOPICS; t++) {
        struct local_topic *topic = find(m, t);
        assert_int_equal(topic != NULL, m->of_topic[t] > 0);
        if (topic) {
            assert_ptr_equal(topic->registered, &m->topics[t]);
            assert_int_equal(topic->count, m->of_topic[t]);
            assert_topic_halves(topic);
        }
        for (size_t s = 0; s < SUBSCRIBERS && topic; s++) {
            struct subscription *found = subscriber_find(&m->subscribers[s], topic);
            assert_int_equal(found != NULL, m->on[s][t]);
            if (found)
                assert_ptr_equal(found->topic, topic);
        }
    }
    for (size_t s = 0; s < SUBSCRIBERS; s++) {
        assert_int_equal(assert_halves(&m->subscribers[s]), m->of_subscriber[s]);
        struct local_topic *any = subscriber_any(&m->subscribers[s]);
        assert_int_equal(any != NULL, m->of_subscriber[s] > 0);
        if (any)
            assert_true(m->on[s][any->registered - m->topics]);
        assert_true(m->of_subscriber[s] > 0 || m->subscribers[s].cap == 1);
        size_t all = 0;
        const struct subscription *each;
        for (uint32_t at = 0; (each = subscriber_next(&m->subscribers[s], &at)) != NULL; all++)
            assert_true(m->on[s][each->topic->registered - m->topics]);
        assert_int_equal(all, m->of_subscriber[s]);
    }
}

/* Wishes of a round: each subscriber wants so many topics, so that rows grow and shrink through
 * 1, 8 and 32 and topics go from nobody to everybody. */
static void wish(struct model *m, struct random *r, uint64_t most)
{
    for (size_t s = 0; s < SUBSCRIBERS; s++) {
        uint64_t wanted = random_below(r, 4) ? random_below(r, most + 1) : most;
        while (m->of_subscriber[s] != wanted) {
            size_t t = (size_t)random_below(r, TOPICS);
            if (m->on[s][t] == (m->of_subscriber[s] > wanted))
                toggle(m, s, t);
        }
        if (s % 16 == 0)
            assert_same(m);
    }
}

/* Broken by a moved entry whose other half is not told (on either side, in rows and in tables), and
 * by a table's gap that is not closed: fails. */
static void it_holds_what_was_joined_and_not_left(void **state)
{
    (void)state;
    /* Different hashes; all in one part and in one chain; all equal but for the part. */
    static const uint64_t masks[] = {UINT64_MAX, 7, UINT64_MAX << 60};
    static const uint64_t sizes[] = {
        1, 2, 7, 8, 9, 24, 25, 31, 32, 33, TOPICS, 33, 24, 9, 8, 3, 1, 0, TOPICS, 1, TOPICS, 0};
    for (size_t round = 0; round < 3; round++) {
        static struct model m;
        struct random r = {7 + round};
        memset(&m, 0, sizeof m);
        m.topics = topics_new(&r, TOPICS, masks[round]);
        local_init(&m.local);
        for (size_t s = 0; s < SUBSCRIBERS; s++)
            subscriber_init(&m.subscribers[s]);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            wish(&m, &r, sizes[i]);
            assert_same(&m);
        }
        for (int step = 0; step < 3000; step++)
            toggle(&m, (size_t)random_below(&r, SUBSCRIBERS), (size_t)random_below(&r, TOPICS));
        assert_same(&m);
        wish(&m, &r, 0);
        assert_same(&m);
        local_fini(&m.local);
        free(m.topics);
    }
}

/* --- the four segments ------------------------------------------------------------------------ */

enum { MEMBERS = 60, PLACES = 12 };

struct member {
    bool on;
    struct join join;
};

struct segments {
    struct local_topics local;
    struct registry_topic *topics; /* PLACES: every other one is a pattern, for local topics */
    struct subscriber subscribers[MEMBERS];
    struct member on[MEMBERS][PLACES];
};

static struct local_topic *place_of(struct segments *m, size_t t)
{
    return local_find(&m->local, m->topics[t].hash, &m->topics[t]);
}

static struct join random_join(struct random *r)
{
    struct join join = {.policy = (enum policy)random_below(r, 3)};
    join.enveloped = random_below(r, 3) > 0;
    join.events = join.enveloped && random_below(r, 3) == 0;
    join.watches = join.enveloped && !join.events && random_below(r, 2);
    return join;
}

/* The places of level 1, then of level 2 those who get events, the others, and those who watch;
 * each is there once. */
static void assert_segments(struct segments *m, size_t t)
{
    struct local_topic *topic = place_of(m, t);
    uint32_t plain = 0, events = 0, watchers = 0, lenient = 0, count = 0;
    bool seen[MEMBERS] = {false};
    for (size_t s = 0; s < MEMBERS; s++) {
        const struct member *member = &m->on[s][t];
        plain += member->on && !member->join.enveloped;
        events += member->on && member->join.events;
        watchers += member->on && member->join.watches;
        lenient += member->on && member->join.policy != POLICY_DISCONNECT;
        count += member->on;
    }
    assert_int_equal(topic != NULL, count > 0);
    if (!topic)
        return;
    assert_int_equal(topic->count, count);
    assert_int_equal(topic->plain, plain);
    assert_int_equal(topic->events, events);
    assert_int_equal(topic->watchers, watchers);
    assert_int_equal(topic->lenient, lenient);
    assert_int_equal(topic->is_pattern, t % 2);
    assert_topic_halves(topic);
    for (uint32_t i = 0; i < count; i++) {
        size_t s = (size_t)(local_places(topic)[i].subscriber - m->subscribers);
        const struct member *member = &m->on[s][t];
        const struct subscription *found = subscriber_find(&m->subscribers[s], topic);
        assert_true(member->on && !seen[s]);
        assert_ptr_equal(found, subscriber_find_by(&m->subscribers[s], topic->hash, topic->serial));
        assert_int_equal(found->policy, member->join.policy);
        assert_int_equal(found->watches, member->join.watches);
        assert_int_equal(i < plain, !member->join.enveloped);
        assert_int_equal(i >= plain && i < plain + events, member->join.events);
        assert_int_equal(i >= count - watchers, member->join.watches);
        seen[s] = true;
    }
}

static void step(struct segments *m, struct random *r, uint64_t leaving)
{
    size_t s = (size_t)random_below(r, MEMBERS), t = (size_t)random_below(r, PLACES);
    struct member *member = &m->on[s][t];
    struct subscriber *subscriber = &m->subscribers[s];
    struct local_key key = {m->topics[t].hash, &m->topics[t], t % 2};
    if (!member->on) {
        *member = (struct member){true, random_join(r)};
        assert_true(local_join(&m->local, key, subscriber, member->join));
    } else if (random_below(r, 10) < leaving) {
        member->on = false;
        local_leave(&m->local, place_of(m, t), subscriber);
    } else {
        struct join join = random_join(r);
        member->join.policy = join.policy;
        if (member->join.enveloped && !member->join.events)
            member->join.watches = join.watches;
        local_change(
            subscriber_find(subscriber, place_of(m, t)), member->join.policy, member->join.watches);
    }
    assert_segments(m, t);
}

/* Broken by a place that is moved without its other half, by a segment whose border stays, and by
 * one of level 2 that is opened in front of level 1: fails. */
static void places_lie_by_level_and_by_who_watches(void **state)
{
    (void)state;
    static struct segments m;
    struct random r = {21};
    memset(&m, 0, sizeof m);
    m.topics = topics_new(&r, PLACES, 3); /* in few chains */
    local_init(&m.local);
    for (size_t s = 0; s < MEMBERS; s++)
        subscriber_init(&m.subscribers[s]);
    for (int i = 0; i < 60000; i++)
        step(&m, &r, i / 10000 % 2 ? 8 : 3); /* fills up, and empties */
    for (size_t s = 0; s < MEMBERS; s++)
        for (struct local_topic *any; (any = subscriber_any(&m.subscribers[s])) != NULL;) {
            size_t t = (size_t)(any->registered - m.topics);
            m.on[s][t].on = false;
            local_leave(&m.local, any, &m.subscribers[s]);
            assert_segments(&m, t);
        }
    local_fini(&m.local);
    free(m.topics);
}

/* --- patterns beside topics ------------------------------------------------------------------- */

/* Broken by a look-up by name that does not ask which of the two it is: fails. */
static void a_pattern_and_a_topic_of_the_same_text_are_two(void **state)
{
    (void)state;
    struct local_topics local;
    struct patterns patterns;
    struct subscriber s[2];
    struct join how = {.enveloped = true};
    struct registry *r = aligned_alloc(64, sizeof *r);
    const struct text name = TEXT("stock:*");
    registry_init(r, 1, 0);
    patterns_init(&patterns, 1);
    local_init(&local);
    uint64_t hash = registry_hash(r, name);
    struct stripe *stripe = registry_stripe(r, hash);
    struct pattern *pattern = patterns_join(&patterns, hash, name, 0, false);
    assert_non_null(pattern);
    lock_take(&stripe->lock);
    struct registry_topic *registered = registry_make(r, stripe, hash, name);
    assert_non_null(registered);
    registry_join(stripe, registered, 0, false);
    lock_give(&stripe->lock);
    subscriber_init(&s[0]);
    subscriber_init(&s[1]);
    assert_true(local_join(&local, (struct local_key){hash, pattern, true}, &s[0], how));
    assert_null(local_find_named(&local, r, hash, name));
    assert_true(local_join(&local, (struct local_key){hash, registered, false}, &s[1], how));
    /* Each of them may have both. */
    assert_true(local_join(&local, (struct local_key){hash, registered, false}, &s[0], how));
    struct local_topic *topic = local_find_named(&local, r, hash, name);
    struct local_topic *of_pattern = local_find_pattern(&local, &patterns, hash, name);
    assert_ptr_equal(topic, local_find(&local, hash, registered));
    assert_ptr_equal(of_pattern, local_find(&local, hash, pattern));
    assert_ptr_not_equal(topic, of_pattern);
    assert_true(topic->serial != of_pattern->serial);
    assert_int_equal(topic->count, 2);
    assert_int_equal(of_pattern->count, 1);
    assert_ptr_equal(subscriber_find_by(&s[0], hash, topic->serial)->topic, topic);
    assert_ptr_equal(subscriber_find_by(&s[0], hash, of_pattern->serial)->topic, of_pattern);
    assert_null(subscriber_find_by(&s[1], hash, of_pattern->serial));
    assert_false(local_leave(&local, topic, &s[0]));
    assert_true(local_leave(&local, topic, &s[1]));
    assert_null(local_find_named(&local, r, hash, name));
    assert_ptr_equal(local_find_pattern(&local, &patterns, hash, name), of_pattern);
    assert_true(local_leave(&local, of_pattern, &s[0]));
    patterns_leave(&patterns, pattern, 0, true, false);
    lock_take(&stripe->lock);
    assert_true(registry_leave(r, stripe, registered, 0, true, false));
    lock_give(&stripe->lock);
    local_fini(&local);
    patterns_fini(&patterns);
    registry_fini(r);
    free(r);
}

/* A subscription that is made anew is another one, for who remembers the first. */
static void a_topic_that_comes_again_has_another_serial(void **state)
{
    (void)state;
    struct local_topics local;
    struct subscriber s[2];
    struct registry_topic *topics = calloc(1, sizeof *topics);
    assert_non_null(topics);
    local_init(&local);
    for (int i = 0; i < 2; i++)
        subscriber_init(&s[i]);
    topics->hash = 42;
    uint32_t before = 0;
    for (int i = 0; i < 5; i++) {
        assert_true(join(&local, topics, &s[0]));
        struct local_topic *topic = local_find(&local, 42, topics);
        uint32_t serial = topic->serial;
        assert_true(serial != before);
        assert_null(subscriber_find_by(&s[0], 42, before));
        assert_true(join(&local, topics, &s[1]));
        assert_int_equal(topic->serial, serial); /* while it is there it is the same */
        assert_false(local_leave(&local, topic, &s[1]));
        assert_true(local_leave(&local, topic, &s[0]));
        before = serial;
    }
    local_fini(&local);
    free(topics);
}

/* --- sizes ------------------------------------------------------------------------------------ */

static void one_subscription_needs_no_memory_beside_the_topic(void **state)
{
    (void)state;
    struct random r = {9};
    struct registry_topic *topics = topics_new(&r, 1, UINT64_MAX);
    struct local_topics local;
    struct subscriber s;
    local_init(&local);
    subscriber_init(&s);
    assert_null(subscriber_any(&s));
    assert_true(join(&local, topics, &s));
    struct local_topic *topic = local_find(&local, topics->hash, topics);
    assert_int_equal(s.cap, 1);
    assert_int_equal(topic->cap, 1);
    assert_ptr_equal(subscriber_find(&s, topic), &s.one);
    assert_ptr_equal(topic->one.subscriber, &s);
    assert_true(local_leave(&local, topic, &s));
    local_fini(&local);
    free(topics);
}

static void a_subscriber_of_many_topics_grows_and_shrinks(void **state)
{
    (void)state;
    enum { MANY = 40000 };
    struct random r = {10};
    struct registry_topic *topics = topics_new(&r, MANY, UINT64_MAX);
    struct local_topics local;
    struct subscriber s;
    local_init(&local);
    subscriber_init(&s);
    for (size_t i = 0; i < MANY; i++)
        assert_true(join(&local, &topics[i], &s));
    assert_halves(&s);
    assert_int_equal(s.cap, 65536);
    /* As the end of a session does; subscriber_any that looks from the first slot on takes as many
     * steps as there are pairs. */
    for (uint32_t left = MANY; left-- > 0;) {
        struct local_topic *any = subscriber_any(&s);
        assert_non_null(any);
        assert_true(local_leave(&local, any, &s));
        assert_int_equal(s.count, left);
        if (left % 1000 == 0)
            assert_halves(&s);
        assert_true(s.cap <= 32 || s.cap <= 8 * left);
    }
    assert_null(subscriber_any(&s));
    assert_int_equal(s.cap, 1);
    local_fini(&local);
    free(topics);
}

static void a_topic_of_many_subscribers_grows_and_shrinks(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    struct random r = {11};
    struct registry_topic *topics = topics_new(&r, 1, UINT64_MAX);
    struct subscriber *subscribers = calloc(MANY, sizeof *subscribers);
    struct local_topics local;
    local_init(&local);
    for (size_t i = 0; i < MANY; i++) {
        subscriber_init(&subscribers[i]);
        assert_true(join(&local, topics, &subscribers[i]));
    }
    struct local_topic *topic = local_find(&local, topics->hash, topics);
    assert_topic_halves(topic);
    for (uint32_t left = MANY; left-- > 0;) {
        struct subscriber *s = local_places(topic)[random_below(&r, topic->count)].subscriber;
        assert_int_equal(local_leave(&local, topic, s), left == 0);
        if (left == 0)
            break;
        if (left % 1000 == 0)
            assert_topic_halves(topic);
        assert_true(topic->cap <= 16 || topic->cap / 4 <= left);
    }
    local_fini(&local);
    free(subscribers);
    free(topics);
}

static void topics_of_one_hash_are_told_apart_by_their_registry_s(void **state)
{
    (void)state;
    struct registry_topic *topics = calloc(2, sizeof *topics);
    struct local_topics local;
    struct subscriber s[2];
    local_init(&local);
    for (int i = 0; i < 2; i++) {
        topics[i].hash = 42;
        subscriber_init(&s[i]);
        assert_null(local_find(&local, 42, &topics[i]));
        assert_true(join(&local, &topics[i], &s[i]));
    }
    for (int i = 0; i < 2; i++) {
        struct local_topic *topic = local_find(&local, 42, &topics[i]);
        assert_ptr_equal(topic->registered, &topics[i]);
        assert_ptr_equal(local_places(topic)->subscriber, &s[i]);
        assert_null(subscriber_find(&s[1 - i], topic));
    }
    for (int i = 0; i < 2; i++)
        assert_true(local_leave(&local, local_find(&local, 42, &topics[i]), &s[i]));
    local_fini(&local);
    free(topics);
}

static void a_topic_is_found_by_its_name(void **state)
{
    (void)state;
    struct local_topics local;
    struct subscriber s;
    struct registry *r = aligned_alloc(64, sizeof *r);
    registry_init(r, 1, 0);
    local_init(&local);
    subscriber_init(&s);
    uint64_t hash = registry_hash(r, TEXT("stock:A"));
    struct stripe *stripe = registry_stripe(r, hash);
    assert_null(local_find_named(&local, r, hash, TEXT("stock:A")));
    lock_take(&stripe->lock);
    struct registry_topic *registered = registry_make(r, stripe, hash, TEXT("stock:A"));
    assert_non_null(registered);
    registry_join(stripe, registered, 0, false);
    lock_give(&stripe->lock);
    assert_true(join(&local, registered, &s));
    struct local_topic *topic = local_find_named(&local, r, hash, TEXT("stock:A"));
    assert_ptr_equal(topic, local_find(&local, hash, registered));
    assert_null(local_find_named(&local, r, hash, TEXT("stock:B")));
    assert_true(local_leave(&local, topic, &s));
    lock_take(&stripe->lock);
    assert_true(registry_leave(r, stripe, registered, 0, true, false));
    lock_give(&stripe->lock);
    local_fini(&local);
    registry_fini(r);
    free(r);
}

static void leave_twice(void *with)
{
    struct model *m = with;
    struct local_topic *topic = find(m, 0);
    local_leave(&m->local, topic, &m->subscribers[0]);
    local_leave(&m->local, topic, &m->subscribers[0]);
}

static void end_with_subscribers(void *with)
{
    local_fini(&((struct model *)with)->local);
}

static void misuse_is_our_own_bug(void **state)
{
    (void)state;
    static struct model m;
    struct random r = {12};
    m.topics = topics_new(&r, TOPICS, UINT64_MAX);
    local_init(&m.local);
    for (size_t s = 0; s < 2; s++) {
        subscriber_init(&m.subscribers[s]);
        toggle(&m, s, 0);
    }
    assert_true(dies(leave_twice, &m));
    assert_true(dies(end_with_subscribers, &m));
    toggle(&m, 0, 0);
    toggle(&m, 1, 0);
    local_fini(&m.local);
    free(m.topics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_holds_what_was_joined_and_not_left),
        cmocka_unit_test(places_lie_by_level_and_by_who_watches),
        cmocka_unit_test(a_pattern_and_a_topic_of_the_same_text_are_two),
        cmocka_unit_test(a_topic_that_comes_again_has_another_serial),
        cmocka_unit_test(one_subscription_needs_no_memory_beside_the_topic),
        cmocka_unit_test(a_subscriber_of_many_topics_grows_and_shrinks),
        cmocka_unit_test(a_topic_of_many_subscribers_grows_and_shrinks),
        cmocka_unit_test(topics_of_one_hash_are_told_apart_by_their_registry_s),
        cmocka_unit_test(a_topic_is_found_by_its_name),
        cmocka_unit_test(misuse_is_our_own_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
