/* The five guarantees of the protocol, a test each. At each test stands how the source was broken
 * to see it fail. Every connection is a plain socket; connections are handed out to the workers in
 * turn, so that as many as there are workers, opened one after the other, are one on each. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "hermes/hermes.h"
#include "hermes/protocol.h"
#include "support/peer.h"

enum { WORKERS = 3 };

static int start(void **state)
{
    struct hermes *h = hermes_new();
    *state = h;
    return !h || hermes_set(h, "port", "0") || hermes_set(h, "host", "127.0.0.1") ||
           hermes_set(h, "workers", "3") || hermes_set(h, "log-level", "error") ||
           hermes_set(h, "ping-seconds", "0") || hermes_set(h, "pong-seconds", "60") ||
           hermes_set(h, "max-backlog-bytes", "0") || hermes_start(h);
}

/* The budget for slow clients is small. */
static int start_small(void **state)
{
    struct hermes *h = hermes_new();
    *state = h;
    return !h || hermes_set(h, "port", "0") || hermes_set(h, "host", "127.0.0.1") ||
           hermes_set(h, "workers", "3") || hermes_set(h, "log-level", "error") ||
           hermes_set(h, "ping-seconds", "0") || hermes_set(h, "pong-seconds", "60") ||
           hermes_set(h, "max-backlog-bytes", "1m") || hermes_start(h);
}

static int stop(void **state)
{
    hermes_free(*state);
    return 0;
}

static void open_peer(struct peer *p, struct hermes *h)
{
    assert_true(peer_open(p, hermes_port(h)));
}

/* What the next delivery says: a publisher and its count. */
struct value {
    int publisher;
    int n;
};

static struct value next_value(struct peer *p)
{
    const char *text;
    size_t len;
    struct value v;
    assert_int_equal(peer_next(p, &text, &len), PEER_TEXT);
    if (sscanf(text, "[%d,%d", &v.publisher, &v.n) != 2)
        fail_msg("not a delivery: %.*s", (int)len, text);
    return v;
}

static void hear(struct peer *p, int publisher, int n)
{
    struct value v = next_value(p);
    assert_int_equal(v.publisher, publisher);
    assert_int_equal(v.n, n);
}

static void hear_text(struct peer *p, const char *start)
{
    const char *text;
    size_t len;
    assert_int_equal(peer_next(p, &text, &len), PEER_TEXT);
    if (!peer_is(text, len, start))
        fail_msg("expected %s, got %.*s", start, (int)len, text);
}

static void hear_pong(struct peer *p)
{
    const char *text;
    size_t len;
    int got = peer_next(p, &text, &len);
    if (got != PEER_PONG)
        fail_msg("expected a pong, got %d: %.*s", got, (int)len, text);
}

static bool publish(struct peer *p, const char *topic, int publisher, int n)
{
    return peer_sendf(p, "{\"topic\":\"%s\",\"data\":[%d,%d]}", topic, publisher, n);
}

static void publish_inside(struct hermes *h, const char *topic, int publisher, int n)
{
    char data[64];
    int len = snprintf(data, sizeof data, "[%d,%d]", publisher, n);
    assert_int_equal(hermes_publish(h, topic, strlen(topic), data, (size_t)len), HERMES_OK);
}

/* --- 1 ---------------------------------------------------------------------------------------- */

enum { ORDER_SUBSCRIBERS = 2 * WORKERS, ORDER_PUBLISHERS = 4, ORDER_EACH = 20000 };

struct publisher {
    struct hermes *h;
    pthread_barrier_t *ready;
    pthread_t thread;
    int number;
    bool fine;
};

/* Two publish from inside of the program, two over the wire. */
static void *publish_to_one_topic(void *user)
{
    struct publisher *p = user;
    struct peer peer = {.fd = -1};
    bool wire = p->number % 2 == 0;
    p->fine = !wire || peer_open(&peer, hermes_port(p->h));
    pthread_barrier_wait(p->ready);
    for (int n = 0; n < ORDER_EACH && p->fine; n++) {
        char data[64];
        int len = snprintf(data, sizeof data, "[%d,%d]", p->number, n);
        p->fine = wire ? publish(&peer, "t", p->number, n)
                       : hermes_publish(p->h, "t", 1, data, (size_t)len) == HERMES_OK;
    }
    if (wire && p->fine) {
        const char *text;
        size_t len;
        p->fine =
            peer_send_frame(&peer, PEER_PING, "", 0) && peer_next(&peer, &text, &len) == PEER_PONG;
    }
    peer_drop(&peer, false);
    return NULL;
}

/* Broken by posting to the workers after the stripe was unlocked (route_publish); and by delivering
 * to the publisher's own worker at once instead of through its mailbox (publish in
 * session/dispatch.c). */
static void all_subscribers_see_a_topic_in_the_same_order(void **state)
{
    struct hermes *h = *state;
    struct peer subscribers[ORDER_SUBSCRIBERS];
    struct publisher publishers[ORDER_PUBLISHERS];
    pthread_barrier_t ready;
    static struct value first[ORDER_PUBLISHERS * ORDER_EACH];
    for (int i = 0; i < ORDER_SUBSCRIBERS; i++) {
        open_peer(&subscribers[i], h);
        assert_true(peer_subscribe(&subscribers[i], "t"));
    }
    pthread_barrier_init(&ready, NULL, ORDER_PUBLISHERS);
    for (int i = 0; i < ORDER_PUBLISHERS; i++) {
        publishers[i] = (struct publisher){.h = h, .ready = &ready, .number = i};
        pthread_create(&publishers[i].thread, NULL, publish_to_one_topic, &publishers[i]);
    }
    for (int i = 0; i < ORDER_PUBLISHERS; i++)
        pthread_join(publishers[i].thread, NULL);
    pthread_barrier_destroy(&ready);
    for (int i = 0; i < ORDER_PUBLISHERS; i++)
        assert_true(publishers[i].fine);
    for (int i = 0; i < ORDER_SUBSCRIBERS; i++)
        for (int k = 0; k < ORDER_PUBLISHERS * ORDER_EACH; k++) {
            struct value v = next_value(&subscribers[i]);
            if (i == 0)
                first[k] = v;
            else if (v.publisher != first[k].publisher || v.n != first[k].n)
                fail_msg("message %d is [%d,%d] to one subscriber, [%d,%d] to another", k,
                    first[k].publisher, first[k].n, v.publisher, v.n);
        }
    for (int i = 0; i < ORDER_SUBSCRIBERS; i++)
        peer_drop(&subscribers[i], false);
}

/* --- 2 ---------------------------------------------------------------------------------------- */

enum { MIXED_MESSAGES = 3000 };

/* To topics in turn: one that every worker has subscribers of, and one a worker that only that
 * worker has. Broken by delivering at once, without the mailbox, what only the publisher's own
 * worker wants (publish in session/dispatch.c); and by delivering all mail of one topic before that
 * of the next (deliver_messages). */
static void a_subscriber_sees_what_one_connection_published_in_its_order_across_topics(void **state)
{
    struct hermes *h = *state;
    static const char *const topics[] = {"wide", "near 0", "near 1", "near 2"};
    struct peer subscribers[WORKERS];
    struct peer publishers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        open_peer(&subscribers[i], h);
        assert_true(peer_subscribe(&subscribers[i], "wide"));
        assert_true(peer_subscribe(&subscribers[i], topics[1 + i]));
    }
    for (int i = 0; i < WORKERS; i++)
        open_peer(&publishers[i], h);
    for (int i = 0; i < WORKERS; i++) {
        /* In one piece, so that all of it is there at once. */
        static char stream[MIXED_MESSAGES * 64];
        size_t len = 0;
        for (int n = 0; n < MIXED_MESSAGES; n++) {
            char text[64];
            int text_len = snprintf(
                text, sizeof text, "{\"topic\":\"%s\",\"data\":[%d,%d]}", topics[n % 4], i, n);
            len += peer_frame_head((uint8_t *)stream + len, PEER_TEXT, (size_t)text_len);
            memcpy(stream + len, text, (size_t)text_len);
            len += (size_t)text_len;
        }
        assert_true(peer_send_bytes(&publishers[i], stream, len));
    }
    for (int i = 0; i < WORKERS; i++) {
        int next[WORKERS] = {0};
        for (int k = 0; k < WORKERS * MIXED_MESSAGES / 2; k++) {
            struct value v = next_value(&subscribers[i]);
            assert_in_range(v.publisher, 0, WORKERS - 1);
            /* Every fourth, and every fourth from the worker's own topic. */
            if (v.n != next[v.publisher])
                fail_msg(
                    "publisher %d: %d came in place of %d", v.publisher, v.n, next[v.publisher]);
            next[v.publisher] += v.n % 4 == 0 ? 1 + i : 3 - i;
        }
    }
    for (int i = 0; i < WORKERS; i++) {
        peer_drop(&subscribers[i], false);
        peer_drop(&publishers[i], false);
    }
}

/* --- 3 ---------------------------------------------------------------------------------------- */

/* Broken by joining without looking whether the session has joined already (session_join); and by
 * delivering to the publisher's own worker at once and through its mailbox too. */
static void a_subscriber_gets_each_message_once_however_often_it_subscribed(void **state)
{
    struct hermes *h = *state;
    struct peer subscribers[WORKERS];
    struct peer publisher;
    /* One topic lies inline, few in a row, many in a table. */
    static const int others[] = {0, 5, 100};
    for (int i = 0; i < WORKERS; i++) {
        open_peer(&subscribers[i], h);
        assert_true(peer_subscribe(&subscribers[i], "t"));
        for (int k = 0; k < others[i]; k++) {
            char topic[32];
            snprintf(topic, sizeof topic, "other %d", k);
            assert_true(peer_subscribe(&subscribers[i], topic));
        }
        assert_true(peer_subscribe(&subscribers[i], "t"));
        assert_true(peer_subscribe(&subscribers[i], "t"));
    }
    open_peer(&publisher, h);
    for (int n = 0; n < 10; n++)
        assert_true(publish(&publisher, "t", 1, n));
    for (int i = 0; i < WORKERS; i++)
        for (int n = 0; n < 10; n++)
            hear(&subscribers[i], 1, n);
    /* One unsubscribe ends it; coming back makes it one again. */
    for (int i = 0; i < WORKERS; i++)
        assert_true(peer_command(&subscribers[i], "unsubscribe", "t"));
    for (int i = 0; i < WORKERS; i++) {
        assert_true(peer_subscribe(&subscribers[i], "mine"));
        assert_true(publish(&subscribers[i], "t", 2, 0));
        assert_true(publish(&subscribers[i], "mine", 3, 0));
        hear(&subscribers[i], 3, 0);
        assert_true(peer_command(&subscribers[i], "unsubscribe", "mine"));
    }
    for (int i = 0; i < WORKERS; i++)
        assert_true(peer_subscribe(&subscribers[i], "t"));
    for (int n = 0; n < 2; n++)
        assert_true(publish(&publisher, "t", 4, n));
    for (int i = 0; i < WORKERS; i++)
        for (int n = 0; n < 2; n++)
            hear(&subscribers[i], 4, n);
    for (int i = 0; i < WORKERS; i++)
        peer_drop(&subscribers[i], false);
    peer_drop(&publisher, false);
    assert_int_equal(hermes_metric(h, "deliveries_total"), WORKERS * (10 + 1 + 2));
}

/* --- 4 ---------------------------------------------------------------------------------------- */

enum { BIG = 16 * 1024, MANY = 1000 };

/* [1,n,"xxx..."] */
static void publish_big(struct hermes *h, int n)
{
    static char data[BIG + 64];
    int len = snprintf(data, sizeof data, "[1,%d,\"", n);
    memset(data + len, 'x', BIG);
    len += BIG + snprintf(data + len + BIG, sizeof data - (size_t)len - BIG, "\"]");
    assert_int_equal(hermes_publish(h, "t", 1, data, (size_t)len), HERMES_OK);
}

/* A client with a small receive buffer, which does not read for now. */
static void open_stalled(struct peer *p, struct hermes *h)
{
    assert_true(peer_connect(p, hermes_port(h), 4096));
    assert_true(peer_upgrade(p));
    assert_true(peer_subscribe(p, "t"));
}

/* Asks until a figure is that, for which no event comes. */
static void await_metric(struct hermes *h, const char *name, int64_t wanted)
{
    struct timespec pause = {.tv_nsec = 1000000};
    for (int i = 0; i < PEER_PATIENCE * 1000; i++) {
        if (hermes_metric(h, name) == wanted)
            return;
        nanosleep(&pause, NULL);
    }
    fail_msg("%s is %lld and not %lld", name, (long long)hermes_metric(h, name), (long long)wanted);
}

/* Broken by adding no span for a blocked session (deliver_messages). */
static void a_slow_subscriber_within_the_budget_gets_every_message(void **state)
{
    struct hermes *h = *state;
    struct peer slow[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        open_stalled(&slow[i], h);
    for (int n = 0; n < MANY; n++)
        publish_big(h, n);
    await_metric(h, "blocked_sessions", WORKERS);
    await_metric(h, "deliveries_total", (int64_t)WORKERS * MANY);
    for (int i = 0; i < WORKERS; i++) {
        for (int n = 0; n < MANY; n++)
            hear(&slow[i], 1, n);
        assert_true(peer_send_frame(&slow[i], PEER_PING, "", 0));
        hear_pong(&slow[i]);
        peer_drop(&slow[i], false);
    }
    assert_int_equal(hermes_metric(h, "closed_too_slow_total"), 0);
}

/* Broken by forgetting what a session that is over the budget has queued, without closing it
 * (relieve_oldest); by ending it without a close frame; and by not counting it. */
static void a_subscriber_that_loses_messages_is_told_and_counted(void **state)
{
    struct hermes *h = *state;
    struct peer slow[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        open_stalled(&slow[i], h);
    for (int n = 0; n < MANY; n++)
        publish_big(h, n);
    await_metric(h, "closed_too_slow_total", WORKERS);
    assert_true(hermes_metric(h, "dropped_bytes_total") > 0);
    for (int i = 0; i < WORKERS; i++) {
        const char *text;
        size_t len;
        int n = 0;
        int got;
        /* What comes is without a gap, and ends with the word. */
        while ((got = peer_next(&slow[i], &text, &len)) == PEER_TEXT) {
            struct value v;
            assert_int_equal(sscanf(text, "[%d,%d", &v.publisher, &v.n), 2);
            assert_int_equal(v.n, n++);
        }
        assert_int_equal(got, PEER_CLOSE);
        assert_int_equal(slow[i].close_code, HERMES_CLOSE_TOO_SLOW);
        assert_in_range(n, 0, MANY - 1);
        peer_drop(&slow[i], false);
    }
}

/* --- 5 ---------------------------------------------------------------------------------------- */

enum { ROUNDS = 500 };

/* What is published from inside of the program the moment the answer has been read. Broken by
 * answering before joining or leaving (subscribe and unsubscribe in session/dispatch.c, with a
 * worker_flush so that the answer is out). */
static void after_its_answer_a_subscribe_or_unsubscribe_holds(void **state)
{
    struct hermes *h = *state;
    struct peer peers[WORKERS];
    struct peer permanent;
    /* One topic is always there, the other comes and goes. */
    open_peer(&permanent, h);
    assert_true(peer_subscribe(&permanent, "kept"));
    for (int i = 0; i < WORKERS; i++) {
        open_peer(&peers[i], h);
        assert_true(peer_subscribe(&peers[i], "always"));
    }
    for (int n = 0; n < ROUNDS; n++) {
        struct peer *p = &peers[n % WORKERS];
        const char *topic = n % 2 ? "kept" : "passing";
        assert_true(peer_sendf(p, "{\"type\":\"subscribe\",\"topic\":\"%s\"}", topic));
        hear_text(p, "{\"type\":\"ack_subscribe\"");
        publish_inside(h, topic, 1, n);
        hear(p, 1, n);
        assert_true(peer_sendf(p, "{\"type\":\"unsubscribe\",\"topic\":\"%s\"}", topic));
        hear_text(p, "{\"type\":\"ack_unsubscribe\"");
        publish_inside(h, topic, 2, n);
        publish_inside(h, "always", 3, n);
        for (int i = 0; i < WORKERS; i++)
            hear(&peers[i], 3, n);
    }
    for (int i = 0; i < WORKERS; i++)
        peer_drop(&peers[i], false);
    peer_drop(&permanent, false);
}

/* On one connection, in one piece: what it published before it subscribed is not for it, what it
 * published before it unsubscribed is, and every answer has its place among the deliveries. Others
 * subscribe on each worker, so that the messages are in the very mailbox. Broken by leaving the
 * mail in the box when subscribing (route_subscribe), and when unsubscribing (session_leave). */
static void what_is_published_before_subscribing_or_unsubscribing_counts_as_before(void **state)
{
    struct hermes *h = *state;
    struct peer others[WORKERS];
    struct peer peers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        open_peer(&others[i], h);
        assert_true(peer_subscribe(&others[i], "t"));
    }
    for (int i = 0; i < WORKERS; i++)
        open_peer(&peers[i], h);
    for (int i = 0; i < WORKERS; i++) {
        static const char *const texts[] = {
            "{\"topic\":\"t\",\"data\":[1,1]}",
            "{\"type\":\"subscribe\",\"topic\":\"t\"}",
            "{\"topic\":\"t\",\"data\":[1,2]}",
            "{\"type\":\"unsubscribe\",\"topic\":\"t\"}",
            "{\"topic\":\"t\",\"data\":[1,3]}",
            "{\"type\":\"subscribe\",\"topic\":\"t\"}",
            "{\"topic\":\"t\",\"data\":[1,4]}",
        };
        char stream[1024];
        size_t len = 0;
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
            len += peer_frame_head((uint8_t *)stream + len, PEER_TEXT, strlen(texts[k]));
            memcpy(stream + len, texts[k], strlen(texts[k]));
            len += strlen(texts[k]);
        }
        assert_true(peer_send_bytes(&peers[i], stream, len));
        hear_text(&peers[i], "{\"type\":\"ack_subscribe\"");
        hear(&peers[i], 1, 2);
        hear_text(&peers[i], "{\"type\":\"ack_unsubscribe\"");
        hear_text(&peers[i], "{\"type\":\"ack_subscribe\"");
        hear(&peers[i], 1, 4);
        assert_true(peer_command(&peers[i], "unsubscribe", "t"));
        for (int k = 0; k < WORKERS; k++)
            for (int n = 1; n <= 4; n++)
                hear(&others[k], 1, n);
    }
    for (int i = 0; i < WORKERS; i++) {
        peer_drop(&others[i], false);
        peer_drop(&peers[i], false);
    }
}

#define GUARANTEE(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        GUARANTEE(all_subscribers_see_a_topic_in_the_same_order),
        GUARANTEE(a_subscriber_sees_what_one_connection_published_in_its_order_across_topics),
        GUARANTEE(a_subscriber_gets_each_message_once_however_often_it_subscribed),
        GUARANTEE(a_slow_subscriber_within_the_budget_gets_every_message),
        cmocka_unit_test_setup_teardown(
            a_subscriber_that_loses_messages_is_told_and_counted, start_small, stop),
        GUARANTEE(after_its_answer_a_subscribe_or_unsubscribe_holds),
        GUARANTEE(what_is_published_before_subscribing_or_unsubscribing_counts_as_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
