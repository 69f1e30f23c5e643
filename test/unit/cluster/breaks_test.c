/* Links that break at any moment, while brokers publish, workers come and go, and Redis forgets:
 * whoever subscribes is given every message once and in order, but for those that he is told are
 * missing. What there was is known from a connection that hears all of it and does not break. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "cluster/follow.h"
#include "cluster/redis_link_state.h"
#include "support/cluster_harness.h"
#include "support/random.h"
#include "support/real_redis.h"
#include "support/redis_hand.h"

enum { TOPICS = 5, ROUNDS = 40, STEPS = 60, PATTERNED = 2, SEEDS = 8, ERRANDS = 40 };

/* Worker 0 subscribes to all of them from begin to end, worker 1 comes and goes, worker 2 is there
 * by pattern. Of "kept:" nothing may be missing within an epoch. */
static const char *const topics[TOPICS] = {"kept:a", "kept:b:c", "few:a", "a", "a:b"};
static const uint32_t keeps[TOPICS] = {1000, 1000, 3, 0, 0};

/* --- what happened ---------------------------------------------------------------------------- */

struct truth {
    uint64_t epoch;
    uint64_t offset;
    uint64_t number;
};

enum what { JOINED, LEFT, CAME, GAP, ANEW };

struct event {
    enum what what;
    uint64_t epoch; /* JOINED, ANEW */
    uint64_t from;  /* JOINED, CAME: the offset */
    uint64_t to;
    uint64_t number;
};

struct row {
    size_t count;
    size_t cap;
    struct event *events;
};

struct world {
    uint64_t seed;
    struct random random;
    struct site *site;
    struct hand *ear;
    int64_t spared[2];
    struct truth *truths[TOPICS];
    size_t truth_count[TOPICS];
    struct row rows[SITE_WORKERS][TOPICS];
    struct registry_topic *joined[2][TOPICS];
    uint64_t next[TOPICS]; /* number to publish */
    uint64_t epochs;
    struct sent wishes[TOPICS]; /* of worker 1 */
    bool wished[TOPICS];
    struct pattern *pattern;
    struct sent pattern_wish;
    bool pattern_wished;
    struct sent published[ERRANDS];
    unsigned published_topic[ERRANDS];
    uint64_t published_number[ERRANDS];
    unsigned published_count;
};

static struct real_redis redis;
static struct hand *hand;

static int start(void **state)
{
    (void)state;
    real_redis_open(&redis);
    real_redis_start(&redis, NULL);
    hand = hand_open(redis.port);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    hand_close(hand);
    real_redis_close(&redis);
    return 0;
}

#define CHECK(world, condition)                                                                    \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("seed %llu: not %s", (unsigned long long)(world)->seed, #condition);          \
    } while (0)

static void note(struct world *w, unsigned worker, unsigned topic, struct event e)
{
    struct row *row = &w->rows[worker][topic];
    if (row->count == row->cap) {
        row->cap = row->cap ? 2 * row->cap : 64;
        row->events = realloc(row->events, row->cap * sizeof *row->events);
        assert_non_null(row->events);
    }
    row->events[row->count++] = e;
}

static unsigned topic_of_hash(struct site *s, uint64_t hash)
{
    unsigned i = 0;
    while (i < TOPICS && registry_hash(&s->shop.route.registry, text_of(topics[i])) != hash)
        i++;
    assert_true(i < TOPICS);
    return i;
}

static uint64_t number_of(struct text data)
{
    uint64_t number = 0;
    for (size_t i = 0; i < data.len; i++)
        number = number * 10 + (uint64_t)(data.at[i] - '0');
    return number;
}

static void heard(struct site *s, unsigned worker, const struct message *m)
{
    struct world *w = s->user;
    unsigned topic = topic_of_hash(s, m->hash);
    const char *at = m->frames;
    if (m->count == 0) {
        char digits[HEX_DIGITS + 1] = "";
        const char *epoch = memmem(m->frames, m->len, "\"epoch\":\"", 9);
        struct event e = {.what = epoch ? ANEW : GAP,
            .from = site_number(m, "\"from\":"),
            .to = site_number(m, "\"to\":")};
        CHECK(w, m->event == EVENT_GAP);
        CHECK(w, m->lost == (e.to >= e.from));
        if (epoch) {
            memcpy(digits, epoch + 9, HEX_DIGITS);
            e.epoch = strtoull(digits, NULL, 16);
        }
        note(w, worker, topic, e);
        return;
    }
    for (uint32_t i = 0; i < m->count; i++) {
        struct text data;
        at = message_frame(at, &data);
        note(w, worker, topic,
            (struct event){.what = CAME, .from = m->offset + i, .number = number_of(data)});
    }
}

/* --- what there was --------------------------------------------------------------------------- */

static void learn(struct world *w, const struct resp *r)
{
    struct payload p;
    unsigned topic = 0;
    assert_true(payload_read(r->items[2].text, &p));
    while (!text_equal(p.topic, text_of(topics[topic])))
        topic++;
    w->truths[topic] =
        realloc(w->truths[topic], (w->truth_count[topic] + p.count) * sizeof *w->truths[topic]);
    assert_non_null(w->truths[topic]);
    const char *at = p.frames.at;
    for (uint32_t i = 0; i < p.count; i++) {
        struct text data;
        at = message_frame(at, &data);
        w->truths[topic][w->truth_count[topic]++] =
            (struct truth){p.epoch, p.offset + i, number_of(data)};
    }
}

/* All that has been published up to now. */
static void learn_all(struct world *w)
{
    hand_word(w->ear, "PING");
    hand_send(w->ear);
    for (;;) {
        const struct resp *r = hand_next(w->ear);
        if (text_equal(r->items[0].text, TEXT("pong")))
            return;
        learn(w, r);
    }
}

static const struct truth *find(const struct world *w, unsigned topic, uint64_t epoch, uint64_t at)
{
    for (size_t i = 0; i < w->truth_count[topic]; i++)
        if (w->truths[topic][i].epoch == epoch && w->truths[topic][i].offset == at)
            return &w->truths[topic][i];
    return NULL;
}

/* --- whether it is right ---------------------------------------------------------------------- */

/* Goes through what a subscriber by name was given; where that ends is in *epoch and *last. */
static void judge(
    const struct world *w, unsigned worker, unsigned topic, uint64_t *epoch, uint64_t *last)
{
    const struct row *row = &w->rows[worker][topic];
    bool in = false;
    for (size_t i = 0; i < row->count; i++) {
        const struct event *e = &row->events[i];
        const struct truth *t;
        switch (e->what) {
        case JOINED:
            in = true;
            *epoch = e->epoch;
            *last = e->from;
            break;
        case LEFT:
            in = false;
            break;
        case CAME:
            if (!in)
                break;
            CHECK(w, e->from == *last + 1);
            t = find(w, topic, *epoch, e->from);
            CHECK(w, t && t->number == e->number);
            *last = e->from;
            break;
        case GAP:
            if (!in)
                break;
            CHECK(w, e->from == *last + 1 && e->to >= e->from);
            CHECK(w, keeps[topic] < 1000);
            CHECK(w, find(w, topic, *epoch, e->to) != NULL);
            *last = e->to;
            break;
        case ANEW:
            if (!in)
                break;
            CHECK(w, e->from == 1 && e->epoch != *epoch);
            CHECK(w, keeps[topic] == 0 || e->to == 0);
            CHECK(w, e->to == 0 || find(w, topic, e->epoch, e->to) != NULL);
            *epoch = e->epoch;
            *last = e->to;
            break;
        }
    }
}

/* By pattern: nothing twice and nothing out of order. */
static void judge_pattern(const struct world *w, unsigned topic)
{
    const struct row *row = &w->rows[PATTERNED][topic];
    size_t next = 0;
    for (size_t i = 0; i < row->count; i++) {
        if (row->events[i].what != CAME)
            continue;
        while (
            next < w->truth_count[topic] && w->truths[topic][next].number != row->events[i].number)
            next++;
        CHECK(w, next++ < w->truth_count[topic]);
    }
}

static void judge_publishes(struct world *w)
{
    learn_all(w);
    for (unsigned i = 0; i < w->published_count; i++) {
        const struct errand *e = &w->published[i].errand;
        CHECK(w, w->published[i].back == 1);
        if (e->outcome == ERRAND_DONE) {
            const struct truth *t = find(w, w->published_topic[i], e->epoch, e->offset);
            CHECK(w, t && t->number == w->published_number[i]);
        }
    }
    w->published_count = 0;
}

/* --- what is done ----------------------------------------------------------------------------- */

static unsigned any(struct world *w, unsigned below)
{
    return (unsigned)random_below(&w->random, below);
}

static void publish(struct world *w, unsigned topic)
{
    uint32_t count = 1 + any(w, 3);
    hand_publish(hand, topics[topic], ++w->epochs, keeps[topic], w->next[topic], count);
    w->next[topic] += count;
}

static void publish_here(struct world *w, unsigned topic)
{
    unsigned i = w->published_count;
    if (i == ERRANDS)
        return;
    uint32_t count = 1 + any(w, 3);
    w->published_count++;
    w->published_topic[i] = topic;
    site_publish(w->site, &w->published[i], topics[topic], w->next[topic], count);
    w->next[topic] += count;
    w->published_number[i] = w->next[topic] - 1;
}

static void join(struct world *w, unsigned worker, unsigned topic)
{
    struct route_joined joined = site_try_join(w->site, worker, topics[topic]);
    w->joined[worker][topic] = joined.topic;
    if (joined.topic)
        note(w, worker, topic,
            (struct event){.what = JOINED, .epoch = joined.epoch, .from = joined.offset});
}

/* Worker 1 wants the topic, or not any more. */
static void come_or_go(struct world *w, unsigned topic)
{
    if (w->joined[1][topic]) {
        site_take_mail(w->site);
        note(w, 1, topic, (struct event){.what = LEFT});
        site_leave(w->site, 1, w->joined[1][topic]);
        w->joined[1][topic] = NULL;
    } else if (!w->wished[topic]) {
        w->wished[topic] = true;
        site_send(
            w->site, &w->wishes[topic], (struct errand){.kind = ERRAND_FOLLOW}, topics[topic]);
    }
}

static void come_or_go_by_pattern(struct world *w)
{
    if (w->pattern) {
        site_leave_pattern(w->site, PATTERNED, w->pattern);
        w->pattern = NULL;
    } else if (!w->pattern_wished) {
        w->pattern_wished = true;
        site_send(w->site, &w->pattern_wish, (struct errand){.kind = ERRAND_PATTERN},
            any(w, 2) ? ">" : "kept:>");
    }
}

/* What was wished for has come, or will not. */
static void take_wishes(struct world *w)
{
    for (unsigned i = 0; i < TOPICS; i++) {
        if (!w->wished[i] || w->wishes[i].back == 0)
            continue;
        w->wished[i] = false;
        if (w->wishes[i].errand.outcome == ERRAND_DONE)
            join(w, 1, i);
    }
    if (w->pattern_wished && w->pattern_wish.back > 0) {
        w->pattern_wished = false;
        if (w->pattern_wish.errand.outcome == ERRAND_DONE)
            w->pattern = site_match(
                w->site, PATTERNED, w->pattern_wish.errand.name.len == 1 ? ">" : "kept:>");
    }
}

static void forget(unsigned topic)
{
    char line[100];
    snprintf(line, sizeof line, "DEL hermes:t:%s hermes:h:%s", topics[topic], topics[topic]);
    hand_do(hand, line);
}

static void do_something(struct world *w)
{
    struct site *s = w->site;
    struct shard *shard = &s->cluster.shards[0];
    unsigned dice = any(w, 100);
    if (dice < 25)
        publish(w, any(w, TOPICS));
    else if (dice < 35)
        publish_here(w, any(w, TOPICS));
    else if (dice < 70)
        site_turn(s, any(w, 2) ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    else if (dice < 76)
        redis_link_pause(shard->subscriber, any(w, 2));
    else if (dice < 82)
        redis_link_pause(shard->commands, any(w, 2));
    else if (dice < 84)
        redis_link_break(shard->subscriber, "of the test");
    else if (dice < 86)
        redis_link_break(shard->commands, "of the test");
    else if (dice < 87)
        hand_kill(hand, true, w->spared, 2);
    else if (dice < 88)
        hand_kill(hand, false, w->spared, 2);
    else if (dice < 94)
        come_or_go(w, any(w, TOPICS));
    else if (dice < 96)
        come_or_go_by_pattern(w);
    else if (dice < 97)
        s->paused = !s->paused;
    else if (dice < 98)
        for (unsigned i = any(w, 120); i > 0; i--)
            follow_tick(&s->cluster);
    else if (dice < 99)
        forget(any(w, TOPICS));
    else
        hand_do(hand, "SCRIPT FLUSH");
    take_wishes(w);
    shard->commands->attempt = shard->subscriber->attempt = 0; /* it connects again at once */
}

static bool is_quiet(struct world *w)
{
    struct site *s = w->site;
    if (!site_is_up(s) || s->cluster.under_way > 0 || s->cluster.held > 0)
        return false;
    for (unsigned i = 0; i < TOPICS; i++) {
        struct followed *f = site_followed(s, topics[i]);
        if (w->wished[i] || w->pattern_wished || !f || f->state != FOLLOW_LIVE)
            return false;
        /* What is on its way still, or was lost with nothing behind it to show it. */
        char line[100];
        snprintf(line, sizeof line, "HMGET hermes:t:%s e o", topics[i]);
        const struct resp *r = hand_do(hand, line);
        uint64_t epoch = 0;
        if (r->items[0].kind != RESP_TEXT) {
            followed_ask(f);
            return false;
        }
        assert_true(hex_read(r->items[0].text, &epoch));
        const struct registry_topic *topic = w->joined[0][i];
        uint64_t offset = r->items[1].kind == RESP_TEXT ? number_of(r->items[1].text) : 0;
        if (epoch != topic->epoch || offset != topic->offset)
            return false;
    }
    return true;
}

static void calm_down(struct world *w)
{
    struct site *s = w->site;
    uint64_t end = clock_ms() + SITE_PATIENCE_MS;
    bool through = false;
    s->paused = false;
    redis_link_pause(s->cluster.shards[0].subscriber, false);
    redis_link_pause(s->cluster.shards[0].commands, false);
    while (!through && clock_ms() < end) {
        int64_t breaks = metric_get(&s->cluster.metrics, METRIC_cluster_breaks_total);
        struct sent *probe = &w->published[w->published_count];
        publish_here(w, 0);
        while ((probe->back == 0 || !is_quiet(w)) && clock_ms() < end) {
            site_turn(s, UV_RUN_ONCE);
            take_wishes(w);
        }
        /* What was killed before is known to be by now. */
        through = probe->errand.outcome == ERRAND_DONE &&
                  metric_get(&s->cluster.metrics, METRIC_cluster_breaks_total) == breaks;
        if (!through && w->published_count > ERRANDS / 2)
            judge_publishes(w);
    }
    CHECK(w, through && is_quiet(w));
}

/* In quiet all is given, and nothing is told to be missing. */
static void publish_in_quiet(struct world *w)
{
    for (unsigned topic = 0; topic < TOPICS; topic++) {
        size_t before = w->rows[0][topic].count;
        uint64_t from = w->next[topic];
        publish(w, topic);
        struct sent *sent = &w->published[w->published_count];
        publish_here(w, topic);
        size_t want = before + (size_t)(w->next[topic] - from);
        SITE_UNTIL(w->site, sent->back > 0);
        CHECK(w, sent->errand.outcome == ERRAND_DONE);
        uint64_t end = clock_ms() + SITE_PATIENCE_MS;
        while (w->rows[0][topic].count < want && clock_ms() < end)
            site_turn(w->site, UV_RUN_ONCE);
        CHECK(w, w->rows[0][topic].count == want);
        for (size_t i = before; i < want; i++)
            CHECK(w, w->rows[0][topic].events[i].what == CAME);
    }
}

static void judge_all(struct world *w)
{
    judge_publishes(w);
    for (unsigned topic = 0; topic < TOPICS; topic++) {
        judge_pattern(w, topic);
        for (unsigned worker = 0; worker < 2; worker++) {
            uint64_t epoch = 0, last = 0;
            judge(w, worker, topic, &epoch, &last);
            const struct registry_topic *t = w->joined[worker][topic];
            CHECK(w, !t || (t->epoch == epoch && t->offset == last));
        }
    }
}

static void open_world(struct world *w, uint64_t seed)
{
    *w = (struct world){.seed = seed, .random = {seed}, .epochs = 1000};
    hand_do(hand, "FLUSHALL");
    w->ear = hand_open(redis.port);
    w->spared[0] = hand_number(hand, "CLIENT ID");
    w->spared[1] = hand_number(w->ear, "CLIENT ID");
    for (unsigned i = 0; i < TOPICS; i++) {
        char line[100];
        snprintf(line, sizeof line, "SUBSCRIBE hermes:m:%s", topics[i]);
        hand_do(w->ear, line);
        w->next[i] = 1;
    }
    w->site = site_open(redis.port);
    w->site->user = w;
    w->site->heard = heard;
    w->site->shop.route.crowded = 3000; /* some dozens of mails */
    for (unsigned i = 0; i < TOPICS; i++) {
        site_follow(w->site, topics[i]);
        join(w, 0, i);
    }
}

static void close_world(struct world *w)
{
    for (unsigned i = 0; i < TOPICS; i++) {
        site_leave(w->site, 0, w->joined[0][i]);
        if (w->joined[1][i])
            site_leave(w->site, 1, w->joined[1][i]);
    }
    if (w->pattern)
        site_leave_pattern(w->site, PATTERNED, w->pattern);
    site_close(w->site);
    hand_close(w->ear);
    for (unsigned i = 0; i < TOPICS; i++) {
        free(w->truths[i]);
        for (unsigned k = 0; k < SITE_WORKERS; k++)
            free(w->rows[k][i].events);
    }
}

static void run(uint64_t seed)
{
    static struct world w;
    open_world(&w, seed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = any(&w, STEPS); i > 0; i--)
            do_something(&w);
        calm_down(&w);
        judge_all(&w);
        publish_in_quiet(&w);
        judge_all(&w);
    }
    close_world(&w);
}

static void whatever_breaks_nothing_is_lost_doubled_or_out_of_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run(seed);
}

static void nor_in_a_run_that_nobody_has_seen(void **state)
{
    struct timespec now;
    (void)state;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    print_message("seed %llu\n", (unsigned long long)seed);
    run(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_breaks_nothing_is_lost_doubled_or_out_of_order),
        cmocka_unit_test(nor_in_a_run_that_nobody_has_seen),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
