#include "broker/registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/dying.h"
#include "support/random.h"

enum { WORKERS = 130, WORDS = 3, NAMES = 60 };

/* What should be known of one topic. */
struct model {
    char name[1100];
    size_t len;
    struct registry_topic *topic; /* NULL: not there */
    uint32_t on[WORKERS];         /* subscribers */
    uint64_t offset;
};

static struct text name_of(const struct model *m)
{
    return (struct text){m->name, m->len};
}

static struct registry *registry_new(unsigned workers)
{
    struct registry *r = aligned_alloc(64, sizeof *r);
    assert_non_null(r);
    registry_init(r, workers, 0);
    return r;
}

static void registry_free(struct registry *r)
{
    registry_fini(r);
    free(r);
}

static struct registry_topic *join(
    struct registry *r, struct text name, unsigned worker, bool *made)
{
    uint64_t hash = registry_hash(r, name);
    struct stripe *stripe = registry_stripe(r, hash);
    lock_take(&stripe->lock);
    struct registry_topic *topic = registry_find(r, stripe, hash, name);
    *made = !topic;
    if (!topic)
        topic = registry_make(r, stripe, hash, name);
    if (topic)
        registry_join(stripe, topic, worker, false);
    lock_give(&stripe->lock);
    return topic;
}

static bool leave(struct registry *r, struct registry_topic *topic, unsigned worker, bool last)
{
    struct stripe *stripe = registry_stripe(r, topic->hash);
    lock_take(&stripe->lock);
    bool gone = registry_leave(r, stripe, topic, worker, last, false);
    lock_give(&stripe->lock);
    return gone;
}

static struct registry_topic *find(struct registry *r, struct text name)
{
    uint64_t hash = registry_hash(r, name);
    struct stripe *stripe = registry_stripe(r, hash);
    lock_take(&stripe->lock);
    struct registry_topic *topic = registry_find(r, stripe, hash, name);
    lock_give(&stripe->lock);
    return topic;
}

static void assert_as(struct registry *r, const struct model *m)
{
    struct registry_topic *topic = find(r, name_of(m));
    uint64_t words[WORDS] = {0};
    uint32_t subscribers = 0;
    assert_ptr_equal(topic, m->topic);
    if (!topic)
        return;
    for (unsigned w = 0; w < WORKERS; w++) {
        subscribers += m->on[w];
        if (m->on[w] > 0)
            words[w / 64] |= UINT64_C(1) << (w % 64);
    }
    assert_int_equal(topic->subscribers, subscribers);
    assert_memory_equal(topic->workers, words, sizeof words);
    assert_true(text_equal(registry_name(r, topic), name_of(m)));
    assert_true(topic->hash == registry_hash(r, name_of(m)));
    assert_true(topic->offset == m->offset);
}

static void model_join(struct registry *r, struct model *m, unsigned worker)
{
    bool made;
    char copy[sizeof m->name]; /* the caller's bytes need not stay */
    memcpy(copy, m->name, m->len);
    struct registry_topic *topic = join(r, (struct text){copy, m->len}, worker, &made);
    memset(copy, '?', sizeof copy);
    assert_non_null(topic);
    assert_int_equal(made, m->topic == NULL);
    if (made)
        m->offset = 0;
    else
        assert_ptr_equal(topic, m->topic);
    m->topic = topic;
    m->on[worker]++;
    topic->offset = ++m->offset; /* as a publish would */
}

static void model_leave(struct registry *r, struct model *m, unsigned worker)
{
    uint32_t left = m->topic->subscribers - 1;
    m->on[worker]--;
    assert_int_equal(leave(r, m->topic, worker, m->on[worker] == 0), left == 0);
    if (left == 0)
        m->topic = NULL;
}

/* Names that only differ in length, in the last byte, and in bytes that a C string ends at. */
static void model_name(struct model *m, size_t i)
{
    memset(m, 0, sizeof *m);
    memset(m->name, 'n', sizeof m->name);
    m->len = i < 20 ? i + 1 : i < 40 ? 1024 : 6;
    if (i >= 20)
        m->name[m->len - 1] = (char)i;
    if (i >= 40)
        m->name[2] = '\0';
}

/* Broken by a worker's bit that stays when its last subscriber leaves, and by one that goes with
 * the first: fails. */
static void topics_come_and_go_with_their_subscribers(void **state)
{
    (void)state;
    static struct model models[NAMES];
    struct random random = {5};
    struct registry *r = registry_new(WORKERS);
    assert_int_equal(r->worker_words, WORDS);
    for (size_t i = 0; i < NAMES; i++)
        model_name(&models[i], i);
    for (int step = 0; step < 40000; step++) {
        struct model *m = &models[random_below(&random, NAMES)];
        /* Few workers for most topics, so that they meet. */
        unsigned worker = (unsigned)random_below(&random, step % 3 ? 4 : WORKERS);
        if (m->on[worker] == 0 || random_below(&random, 5) < 2)
            model_join(r, m, worker);
        else
            model_leave(r, m, worker);
        if (random_below(&random, 50) == 0)
            for (unsigned w = 0; w < WORKERS; w++)
                while (m->on[w] > 0)
                    model_leave(r, m, w);
        assert_as(r, &models[random_below(&random, NAMES)]);
        assert_as(r, m);
    }
    for (size_t i = 0; i < NAMES; i++)
        for (unsigned w = 0; w < WORKERS; w++)
            while (models[i].on[w] > 0)
                model_leave(r, &models[i], w);
    for (size_t i = 0; i < REGISTRY_STRIPES; i++)
        assert_null(r->stripes[i].topics.slots);
    registry_free(r);
}

static void many_topics_spread_over_the_stripes(void **state)
{
    (void)state;
    enum { TOPICS = 20000 };
    static struct registry_topic *topics[TOPICS];
    struct registry *r = registry_new(1);
    char name[32];
    bool made;
    for (int i = 0; i < TOPICS; i++) {
        int len = snprintf(name, sizeof name, "sensor:%d", i);
        topics[i] = join(r, (struct text){name, (size_t)len}, 0, &made);
        assert_true(made);
    }
    for (size_t i = 0; i < REGISTRY_STRIPES; i++)
        assert_in_range(r->stripes[i].topics.count, 20, 200); /* 78 on average */
    for (int i = 0; i < TOPICS; i++)
        assert_true(leave(r, topics[i], 0, true));
    registry_free(r);
}

/* --- epochs ----------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Two brokers' topics, and topics that go and come again. Broken by an epoch that is made of the
 * stripe's number alone, by one that stays with the name, and by registries with the same key:
 * fails. */
static void no_two_topics_ever_have_the_same_epoch(void **state)
{
    (void)state;
    enum { ROUNDS = 50, TOPICS = 400, ALL = 2 * ROUNDS * TOPICS };
    static uint64_t epochs[ALL];
    size_t count = 0;
    char name[32];
    bool made;
    for (int broker = 0; broker < 2; broker++) {
        struct registry *r = registry_new(1);
        for (int i = 0; i < ROUNDS * TOPICS; i++) {
            int len = snprintf(name, sizeof name, "t%d", i % TOPICS);
            struct registry_topic *topic = join(r, (struct text){name, (size_t)len}, 0, &made);
            uint64_t epoch = epochs[count++] = topic->epoch;
            assert_true(made && epoch != 0 && topic->offset == 0);
            join(r, (struct text){name, (size_t)len}, 0, &made);
            assert_false(made);
            assert_true(topic->epoch == epoch);
            leave(r, topic, 0, false);
            assert_true(leave(r, topic, 0, true));
        }
        registry_free(r);
    }
    qsort(epochs, ALL, sizeof epochs[0], by_value);
    for (size_t i = 1; i < ALL; i++)
        assert_true(epochs[i] != epochs[i - 1]);
}

/* --- what is kept ----------------------------------------------------------------------------- */

/* As a publish of one message of `len` bytes at that time would. */
static void add(struct registry *r, struct registry_topic *topic, size_t len, uint64_t now_us)
{
    struct stripe *stripe = registry_stripe(r, topic->hash);
    struct message *m = message_new(len + 4);
    assert_non_null(m);
    memset(m->frames, 'x', len + 4);
    memcpy(
        m->frames, (unsigned char[]){0x81, 126, (unsigned char)(len >> 8), (unsigned char)len}, 4);
    lock_take(&stripe->lock);
    m->offset = ++topic->offset;
    bool empty = topic->kept->history.count == 0;
    assert_true(history_add(&topic->kept->history, m, now_us));
    if (empty)
        keepers_filled(&stripe->keepers, topic->kept);
    lock_give(&stripe->lock);
    message_drop(m);
}

static struct registry_topic *keep(struct registry *r, struct text name, uint32_t messages)
{
    uint64_t hash = registry_hash(r, name);
    struct stripe *stripe = registry_stripe(r, hash);
    lock_take(&stripe->lock);
    struct registry_topic *topic = registry_find(r, stripe, hash, name);
    if (!topic)
        topic = registry_make(r, stripe, hash, name);
    assert_non_null(topic);
    registry_keep(r, stripe, topic, (struct history_limits){.messages = messages}, 1, 0);
    lock_give(&stripe->lock);
    return topic;
}

static void a_topic_with_a_history_outlives_its_subscribers(void **state)
{
    (void)state;
    struct registry *r = registry_new(1);
    bool made;
    struct registry_topic *topic = join(r, TEXT("t"), 0, &made);
    uint64_t epoch = topic->epoch;
    assert_ptr_equal(keep(r, TEXT("t"), 10), topic);
    assert_true(atomic_load(&r->budget.used) > 0);
    assert_true(leave(r, topic, 0, true)); /* it keeps nothing yet */
    assert_null(find(r, TEXT("t")));
    assert_int_equal(atomic_load(&r->budget.used), 0);
    topic = join(r, TEXT("t"), 0, &made);
    assert_true(made && topic->epoch != epoch);
    epoch = topic->epoch;
    keep(r, TEXT("t"), 10);
    add(r, topic, 100, 5);
    assert_false(leave(r, topic, 0, true));
    assert_ptr_equal(find(r, TEXT("t")), topic);
    assert_int_equal(topic->workers[0], 0);
    assert_ptr_equal(join(r, TEXT("t"), 0, &made), topic);
    assert_true(!made && topic->epoch == epoch && topic->offset == 1);
    assert_false(leave(r, topic, 0, true));
    /* Other rules: nothing keeps it any more. */
    struct stripe *stripe = registry_stripe(r, topic->hash);
    lock_take(&stripe->lock);
    assert_false(registry_release(r, stripe, topic));
    registry_keep(r, stripe, topic, (struct history_limits){0}, 2, 10);
    assert_null(topic->kept);
    assert_true(registry_release(r, stripe, topic));
    assert_int_equal(stripe->keepers.count, 0);
    assert_int_equal(stripe->transients, 0);
    lock_give(&stripe->lock);
    assert_int_equal(atomic_load(&r->budget.used), 0);
    registry_free(r);
}

/* Broken by a trim that stops at the first stripe, that trusts keys which are too old, and by one
 * that takes from whoever is first in its stripe: fails. */
static void what_is_over_the_budget_goes_oldest_first_over_all_stripes(void **state)
{
    (void)state;
    enum { TOPICS = 300, MESSAGES = 20, LEN = 5000 };
    static struct registry_topic *topics[TOPICS];
    struct random random = {31};
    struct registry *r = registry_new(1);
    char name[32];
    bool made;
    for (int i = 0; i < TOPICS; i++) {
        int len = snprintf(name, sizeof name, "t%d", i);
        topics[i] = join(r, (struct text){name, (size_t)len}, 0, &made);
        keep(r, (struct text){name, (size_t)len}, 1000);
    }
    uint64_t now = 1;
    for (int i = 0; i < TOPICS * MESSAGES; i++)
        add(r, topics[random_below(&random, TOPICS)], LEN, now++);
    size_t full = atomic_load(&r->budget.used);
    assert_true(full > (size_t)TOPICS * MESSAGES * LEN);
    for (int part = 9; part >= 1; part--) {
        r->budget.most = full / 10 * (size_t)part;
        registry_trim(r);
        size_t used = atomic_load(&r->budget.used);
        assert_true(used <= r->budget.most && used > r->budget.most - 300 * 1000);
        /* What is left everywhere is about as young. */
        uint64_t oldest = UINT64_MAX, youngest = 0;
        for (int i = 0; i < TOPICS; i++) {
            if (!topics[i]->kept || topics[i]->kept->history.count == 0)
                continue;
            uint64_t at = history_oldest_us(&topics[i]->kept->history);
            oldest = at < oldest ? at : oldest;
            youngest = at > youngest ? at : youngest;
        }
        uint64_t gone = (uint64_t)(10 - part) * TOPICS * MESSAGES / 10;
        assert_true(oldest != UINT64_MAX);
        assert_true(oldest + TOPICS * MESSAGES / 10 > gone);
        assert_true(oldest < gone + TOPICS * MESSAGES / 10);
    }
    for (int i = 0; i < TOPICS; i++)
        leave(r, topics[i], 0, true);
    r->budget.most = 1;
    registry_trim(r);
    for (int i = 0; i < TOPICS; i++) {
        int len = snprintf(name, sizeof name, "t%d", i);
        assert_null(find(r, (struct text){name, (size_t)len}));
    }
    assert_int_equal(atomic_load(&r->budget.used), 0);
    registry_free(r);
}

/* Broken by a budget that is never reached by topics that keep next to nothing: fails. */
static void topics_with_one_small_value_count_as_what_they_cost(void **state)
{
    (void)state;
    enum { TOPICS = 1000 };
    struct registry *r = registry_new(1);
    char name[32];
    for (uint64_t i = 0; i < TOPICS; i++) {
        int len = snprintf(name, sizeof name, "t%d", (int)i);
        add(r, keep(r, (struct text){name, (size_t)len}, 1), 1, i + 1);
    }
    size_t full = atomic_load(&r->budget.used);
    assert_true(full >= TOPICS * (sizeof(struct registry_topic) + sizeof(struct kept)));
    r->budget.most = full / 2;
    registry_trim(r);
    for (int i = 0; i < TOPICS; i++) {
        int len = snprintf(name, sizeof name, "t%d", i);
        bool there = find(r, (struct text){name, (size_t)len}) != NULL;
        if (i < TOPICS / 2 - 20 || i >= TOPICS / 2 + 20)
            assert_int_equal(there, i >= TOPICS / 2);
    }
    registry_free(r); /* with what is left */
}

static void two_registries_hash_differently(void **state)
{
    (void)state;
    struct registry *a = registry_new(1);
    struct registry *b = registry_new(1);
    assert_true(registry_hash(a, TEXT("topic")) != registry_hash(b, TEXT("topic")));
    registry_free(a);
    registry_free(b);
}

static void leave_too_often(void *with)
{
    struct registry_topic *topic = with;
    topic->subscribers = 0;
    struct registry *r = registry_new(1);
    leave(r, topic, 0, true);
}

static void end_with_a_topic(void *with)
{
    registry_fini(with);
}

static void misuse_is_our_own_bug(void **state)
{
    (void)state;
    bool made;
    struct registry *r = registry_new(1);
    struct registry_topic *topic = join(r, TEXT("t"), 0, &made);
    assert_true(dies(leave_too_often, topic));
    assert_true(dies(end_with_a_topic, r));
    leave(r, topic, 0, true);
    registry_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_come_and_go_with_their_subscribers),
        cmocka_unit_test(many_topics_spread_over_the_stripes),
        cmocka_unit_test(no_two_topics_ever_have_the_same_epoch),
        cmocka_unit_test(a_topic_with_a_history_outlives_its_subscribers),
        cmocka_unit_test(what_is_over_the_budget_goes_oldest_first_over_all_stripes),
        cmocka_unit_test(topics_with_one_small_value_count_as_what_they_cost),
        cmocka_unit_test(two_registries_hash_differently),
        cmocka_unit_test(misuse_is_our_own_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
