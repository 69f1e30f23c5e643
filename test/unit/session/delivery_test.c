#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>

#include "support/worker_harness.h"

enum {
    CROWD = 600,
    SLICE = 50000, /* as in delivery.c */
    FLUSHED = WORKER_FLUSH_SLICE,
    QUEUE = 256, /* the flush queue's first size */
};

static void crowd_open(struct rig *r, struct client *crowd, size_t count)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 4 * count) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    for (size_t i = 0; i < count; i++)
        client_open(r, 0, &crowd[i], 0);
}

static void crowd_drop(struct rig *r, struct client *crowd, size_t count)
{
    for (size_t i = 0; i < count; i++)
        peer_drop(&crowd[i].peer, false);
    rig_settle(r);
}

/* Seen to fail with SLICE_DELIVERIES at 500000, with WORKER_FLUSH_SLICE at 5120, and without the
 * look at the flush queue in worker_turn. */
static void a_turn_leaves_what_is_more_than_a_slice_for_the_next(void **state)
{
    (void)state;
    static struct client crowd[CROWD];
    enum { MESSAGES = SLICE / CROWD + 10, FIRST = (SLICE + CROWD - 1) / CROWD };
    struct rig r;
    rig_open(&r, 1, rig_limits());
    struct worker *w = &r.shop.workers[0];
    crowd_open(&r, crowd, CROWD);
    for (size_t i = 0; i < CROWD; i++) {
        assert_int_equal(client_join(&crowd[i], "a"), JOIN_OK);
        assert_int_equal(client_join(&crowd[i], "b"), JOIN_OK);
    }
    /* In turn, for neighbours of one topic are one piece of work. */
    for (int i = 0; i < MESSAGES; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        rig_publish_text(&r, i % 2 ? "a" : "b", number);
    }
    int64_t writes = rig_metric(&r, METRIC_writes_total);
    rig_turn(&r);
    assert_int_equal(w->tray.count, MESSAGES);
    assert_int_equal(w->tray.at, FIRST);
    assert_int_equal(rig_metric(&r, METRIC_writes_total) - writes, FLUSHED);
    assert_true(uv_is_active((uv_handle_t *)&w->unfinished));
    uint32_t deliveries = w->deliveries;
    rig_turn(&r);
    assert_int_equal(w->tray.at, w->tray.count);
    assert_int_equal(w->deliveries, deliveries + 1);
    assert_true(uv_is_active((uv_handle_t *)&w->unfinished)); /* the flush queue is not empty yet */
    rig_settle(&r);
    assert_false(uv_is_active((uv_handle_t *)&w->unfinished));
    assert_int_equal(rig_metric(&r, METRIC_deliveries_total), (int64_t)MESSAGES * CROWD);
    for (size_t i = 0; i < CROWD; i += CROWD - 1) {
        for (int m = 0; m < MESSAGES; m++) {
            char number[16];
            snprintf(number, sizeof number, "%d", m);
            client_expect(&r, &crowd[i], number);
        }
        client_expect_nothing(&r, &crowd[i]);
    }
    crowd_drop(&r, crowd, CROWD);
    rig_close(&r);
}

/* Every session that says it is in the queue is where it says. */
static size_t queued(struct worker *w)
{
    size_t count = 0;
    for (size_t i = w->queue.at; i < w->queue.count; i++) {
        if (!w->queue.sessions[i])
            continue;
        assert_int_equal(w->queue.sessions[i]->queued, i + 1);
        count++;
    }
    return count;
}

/* Seen to fail without the renumbering in queue_compact, and without queue_compact (it grows). */
static void a_queue_that_is_never_empty_drops_its_flushed_part(void **state)
{
    (void)state;
    static struct client crowd[QUEUE];
    enum { BEFORE = 150 };
    struct rig r;
    rig_open(&r, 1, rig_limits());
    struct worker *w = &r.shop.workers[0];
    crowd_open(&r, crowd, QUEUE);
    rig_settle(&r);
    for (size_t i = 0; i < QUEUE; i++)
        worker_touch(w, crowd[i].session);
    assert_int_equal(w->queue.cap, QUEUE);
    worker_untouch(w, crowd[BEFORE + 1].session);
    worker_flush(w, BEFORE);
    assert_int_equal(w->queue.at, BEFORE);
    worker_touch(w, crowd[0].session);
    assert_int_equal(w->queue.cap, QUEUE);
    assert_int_equal(w->queue.at, 0);
    assert_int_equal(w->queue.count, QUEUE - BEFORE + 1);
    assert_int_equal(queued(w), QUEUE - BEFORE);
    worker_touch(w, crowd[QUEUE - 1].session); /* twice is once */
    worker_untouch(w, crowd[QUEUE - 1].session);
    worker_touch(w, crowd[BEFORE + 1].session);
    assert_int_equal(queued(w), QUEUE - BEFORE);
    worker_flush(w, SIZE_MAX);
    assert_int_equal(w->queue.count, 0);
    for (size_t i = 0; i < QUEUE; i++)
        assert_int_equal(crowd[i].session->queued, 0);
    crowd_drop(&r, crowd, QUEUE);
    rig_close(&r);
}

/* Seen to fail with worker_oldest_queued returning log.base, and with log_trim only when the queue
 * is empty. */
static void the_log_is_given_back_though_the_queue_is_never_empty(void **state)
{
    (void)state;
    enum { PART = 60 * 1000, ROUNDS = 50 };
    struct rig r;
    struct client c[2];
    rig_open(&r, 1, rig_limits());
    struct worker *w = &r.shop.workers[0];
    for (int i = 0; i < 2; i++) {
        client_open(&r, 0, &c[i], 0);
        client_subscribe(&r, &c[i], i ? "b" : "a");
    }
    size_t most = 0;
    for (int round = 0; round < ROUNDS; round++) {
        rig_publish_large(&r, "a", '1', PART);
        rig_publish_large(&r, "b", '2', PART);
        mailbox_take(&w->box, &w->tray);
        worker_deliver(w);
        worker_flush(w, 1);
        worker_relieve(w);
        assert_true(w->queue.count > 0);
        most = w->log.count > most ? w->log.count : most;
        for (int i = 0; i < 2; i++) {
            const char *payload;
            size_t len;
            while (peer_try(&c[i].peer, &payload, &len) == PEER_TEXT)
                assert_int_equal(payload[0], i ? '2' : '1');
        }
    }
    assert_in_range(most, 1, 3);
    assert_false(c[0].session->blocked || c[1].session->blocked);
    client_drop(&r, &c[0]);
    client_drop(&r, &c[1]);
    rig_close(&r);
}

static void the_oldest_queued_is_the_first_that_has_something_in_the_log(void **state)
{
    (void)state;
    struct rig r;
    struct client c[3];
    rig_open(&r, 1, rig_limits());
    struct worker *w = &r.shop.workers[0];
    for (int i = 0; i < 3; i++)
        client_open(&r, 0, &c[i], 0);
    assert_int_equal(worker_oldest_queued(w), w->log.end);
    worker_touch(w, c[0].session);
    assert_int_equal(worker_oldest_queued(w), w->log.end);
    log_append(&w->log, "in front", 8);
    uint64_t start = w->log.end;
    session_send(c[1].session, TEXT("\x81\x01"
                                    "1"));
    session_send(c[2].session, TEXT("\x81\x01"
                                    "2"));
    assert_int_equal(worker_oldest_queued(w), start);
    assert_int_equal(w->queue.at, 0);
    session_end(c[0].session, CLOSE_LOST, false);
    session_end(c[1].session, CLOSE_LOST, false);
    assert_int_equal(worker_oldest_queued(w), start + 3);
    assert_int_equal(w->queue.at, 2); /* what ended meanwhile is not looked at again */
    client_expect(&r, &c[2], "2");
    for (int i = 0; i < 3; i++)
        client_drop(&r, &c[i]);
    rig_close(&r);
}

/* Seen to fail with mailbox_done only where there are subscribers. */
static void mail_for_subscribers_that_have_left_is_dropped(void **state)
{
    (void)state;
    struct rig r;
    struct client leaves;
    struct client other;
    rig_open(&r, 2, rig_limits());
    client_open(&r, 0, &leaves, 0);
    client_open(&r, 1, &other, 0);
    client_subscribe(&r, &leaves, "t");
    client_subscribe(&r, &other, "t");
    assert_int_equal(rig_publish_text(&r, "t", "1").subscribers, 2);
    session_end(leaves.session, CLOSE_LOST, false);
    assert_true(mailbox_crowded(&r.shop.workers[0].box, 0));
    client_expect(&r, &other, "1");
    assert_false(mailbox_crowded(&r.shop.workers[0].box, 0));
    assert_int_equal(rig_metric(&r, METRIC_deliveries_total), 1);
    client_drop(&r, &leaves);
    client_drop(&r, &other);
    rig_close(&r);
}

/* Seen to fail without worker_deliver_early in session_ready. */
static void much_mail_is_delivered_before_the_poll_s_round_is_over(void **state)
{
    (void)state;
    enum { LARGE = 40 * 1000, SMALL = 1000, COUNT = 4 };
    struct rig r;
    struct client publishers[COUNT];
    struct client subscriber;
    static char text[LARGE];
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &subscriber, 0);
    client_subscribe(&r, &subscriber, "t");
    for (int i = 0; i < COUNT; i++)
        client_open(&r, 0, &publishers[i], 0);
    for (int large = 0; large < 2; large++) {
        struct buf b = {0};
        int waiting = 0;
        int len = snprintf(text, sizeof text, "{\"topic\":\"t\",\"data\":\"%0*d\"}",
            (large ? LARGE : SMALL) - 40, 0);
        add_frame(&b, PEER_TEXT, text, (size_t)len);
        for (int i = 0; i < COUNT; i++)
            assert_true(peer_send_bytes(&publishers[i].peer, b.data, b.len));
        buf_fini(&b);
        uv_run(&r.shop.workers[0].loop, UV_RUN_NOWAIT); /* the turn, then the poll */
        assert_int_equal(ioctl(subscriber.peer.fd, FIONREAD, &waiting), 0);
        assert_int_equal(waiting > 0, large);
        for (int i = 0; i < COUNT; i++)
            client_expect(&r, &subscriber, "\"000");
        client_expect_nothing(&r, &subscriber);
    }
    for (int i = 0; i < COUNT; i++)
        client_drop(&r, &publishers[i]);
    client_drop(&r, &subscriber);
    rig_close(&r);
}

/* --- level 2, patterns, echo ------------------------------------------------------------------ */

#define MESSAGE(topic, data, offset)                                                               \
    "{\"type\":\"message\",\"topic\":\"" topic "\",\"data\":" data ",\"offset\":" offset "}"
#define MATCHED(topic, data, offset, pattern)                                                      \
    "{\"type\":\"message\",\"topic\":\"" topic "\",\"data\":" data ",\"offset\":" offset           \
    ",\"pattern\":\"" pattern "\"}"

static void both_levels_get_the_same_messages(void **state)
{
    (void)state;
    struct rig r;
    struct client c[4];
    rig_open(&r, 1, rig_limits());
    for (int i = 0; i < 4; i++) {
        (i % 2 ? client_open2 : client_open)(&r, 0, &c[i], 0);
        client_subscribe(&r, &c[i], "t");
    }
    rig_publish_text(&r, "t", "1.50");
    rig_publish_text(&r, "t", "{\"a\": null}");
    for (int i = 0; i < 4; i++) {
        client_expect_just(&r, &c[i], "%s", i % 2 ? MESSAGE("t", "1.50", "1") : "1.50");
        client_expect_just(
            &r, &c[i], "%s", i % 2 ? MESSAGE("t", "{\"a\": null}", "2") : "{\"a\": null}");
        client_expect_nothing(&r, &c[i]);
    }
    assert_int_equal(rig_metric(&r, METRIC_deliveries_total), 8);
    for (int i = 0; i < 4; i++)
        client_drop(&r, &c[i]);
    rig_close(&r);
}

/* Guarantee 3. Broken by a session that is not marked as reached: fails. */
static void a_session_gets_a_message_once_whatever_matches(void **state)
{
    (void)state;
    struct rig r;
    struct client both, patterns, plain, other;
    rig_open(&r, 2, rig_limits());
    client_open2(&r, 0, &both, 0);
    client_open2(&r, 0, &patterns, 0);
    client_open(&r, 0, &plain, 0);
    client_open2(&r, 1, &other, 0);
    client_subscribe_pattern(&r, &patterns, "s:*"); /* the oldest */
    client_subscribe_pattern(&r, &both, ">");
    client_subscribe_pattern(&r, &both, "s:*");
    client_subscribe(&r, &both, "s:a");
    client_subscribe_pattern(&r, &patterns, ">");
    client_subscribe_pattern(&r, &patterns, "s:a");
    client_subscribe(&r, &plain, "s:a");
    client_subscribe_pattern(&r, &other, ">");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rig_publish_text(&r, "s:a", "1").subscribers, 8);
        assert_int_equal(rig_publish_text(&r, "x", "2").subscribers, 3);
    }
    for (int i = 0; i < 2; i++) {
        const char *offset = i ? "2" : "1";
        client_expect_just(
            &r, &both, "{\"type\":\"message\",\"topic\":\"s:a\",\"data\":1,\"offset\":%s}", offset);
        client_expect_just(&r, &both,
            "{\"type\":\"message\",\"topic\":\"x\",\"data\":2,\"offset\":%s,\"pattern\":\">\"}",
            offset);
        client_expect_just(&r, &patterns,
            "{\"type\":\"message\",\"topic\":\"s:a\",\"data\":1,\"offset\":%s,\"pattern\":"
            "\"s:*\"}",
            offset);
        client_expect_just(&r, &patterns,
            "{\"type\":\"message\",\"topic\":\"x\",\"data\":2,\"offset\":%s,\"pattern\":\">\"}",
            offset);
        client_expect(&r, &plain, "1");
        client_expect(&r, &other, "{\"type\":\"message\",\"topic\":\"s:a\"");
        client_expect(&r, &other, "{\"type\":\"message\",\"topic\":\"x\"");
    }
    client_expect_nothing(&r, &both);
    client_expect_nothing(&r, &patterns);
    client_expect_nothing(&r, &plain);
    client_expect_nothing(&r, &other);
    assert_int_equal(rig_metric(&r, METRIC_deliveries_total), 2 * (4 + 3));
    client_drop(&r, &both);
    client_drop(&r, &patterns);
    client_drop(&r, &plain);
    client_drop(&r, &other);
    rig_close(&r);
}

static void publish_quietly(struct client *c, const char *topic, const char *data)
{
    char text[128];
    snprintf(text, sizeof text,
        "{\"type\":\"publish\",\"topic\":\"%s\",\"data\":%s,\"echo\":false}", topic, data);
    feed_text(c->session, text);
}

static void publish(struct client *c, const char *topic, const char *data)
{
    char text[128];
    snprintf(text, sizeof text, "{\"topic\":\"%s\",\"data\":%s}", topic, data);
    feed_text(c->session, text);
}

/* Whether it subscribes by name or by pattern. Broken by a run that takes its first message for
 * all: fails. */
static void without_echo_all_others_get_it(void **state)
{
    (void)state;
    struct rig r;
    struct client quiet, matches, other;
    rig_open(&r, 1, rig_limits());
    client_open2(&r, 0, &quiet, 0);
    client_open2(&r, 0, &matches, 0);
    client_open2(&r, 0, &other, 0);
    client_subscribe(&r, &quiet, "t");
    client_subscribe_pattern(&r, &matches, "*");
    client_subscribe(&r, &other, "t");
    publish_quietly(&quiet, "t", "1");
    publish(&quiet, "t", "2");
    publish_quietly(&quiet, "t", "3");
    publish_quietly(&matches, "t", "4");
    publish(&other, "t", "5");
    static const bool quiet_gets[] = {false, true, false, true, true};
    for (int n = 1; n <= 5; n++) {
        if (quiet_gets[n - 1])
            client_expect_just(&r, &quiet,
                "{\"type\":\"message\",\"topic\":\"t\",\"data\":%d,\"offset\":%d}", n, n);
        if (n != 4)
            client_expect_just(&r, &matches,
                "{\"type\":\"message\",\"topic\":\"t\",\"data\":%d,\"offset\":%d,\"pattern\":"
                "\"*\"}",
                n, n);
        client_expect_just(
            &r, &other, "{\"type\":\"message\",\"topic\":\"t\",\"data\":%d,\"offset\":%d}", n, n);
    }
    client_expect_nothing(&r, &quiet);
    client_expect_nothing(&r, &matches);
    client_expect_nothing(&r, &other);
    client_drop(&r, &quiet);
    client_drop(&r, &matches);
    client_drop(&r, &other);
    rig_close(&r);
}

/* Mail as a route would post it. */
static void post_number(struct worker *w, const struct registry_topic *topic, uint64_t offset,
    struct match_set *matches, const char *digit)
{
    struct message *m = message_new(3);
    assert_non_null(m);
    memcpy(m->frames, (char[]){(char)0x81, 1, *digit}, 3);
    m->topic = topic;
    m->hash = topic->hash;
    m->offset = offset;
    m->matches = matches;
    if (matches)
        match_set_hold(matches);
    assert_true(mailbox_post(
        &w->box, (struct mail){.kind = MAIL_MESSAGE, .weight = message_weight(m), .item = m}));
}

/* Seen to fail when any of the conditions is left out in run_find. */
static void only_what_follows_each_other_and_goes_to_the_same_is_one_run(void **state)
{
    (void)state;
    struct rig r;
    struct client named, matched;
    struct match_set *set;
    uint64_t generation;
    rig_open(&r, 1, rig_limits());
    struct worker *w = &r.shop.workers[0];
    client_open2(&r, 0, &named, 0);
    client_open2(&r, 0, &matched, 0);
    client_subscribe_with(&r, &named, "topic", "t", ",\"policy\":\"drop_oldest\"");
    client_subscribe(&r, &named, "u");
    client_subscribe_pattern(&r, &matched, ">");
    rig_settle(&r);
    assert_true(patterns_match(&r.shop.route.patterns, TEXT("t"), &set, &generation));
    const struct registry_topic *t =
        session_subscription(named.session, TEXT("t"), false)->topic->registered;
    const struct registry_topic *u =
        session_subscription(named.session, TEXT("u"), false)->topic->registered;
    post_number(w, t, 1, NULL, "1");
    post_number(w, t, 2, NULL, "2");
    post_number(w, t, 3, set, "3");  /* to others too */
    post_number(w, t, 4, NULL, "4"); /* and not any more */
    post_number(w, t, 7, NULL, "5"); /* not the next */
    post_number(w, u, 8, NULL, "6"); /* another topic */
    match_set_drop(set);
    mailbox_take(&w->box, &w->tray);
    worker_deliver(w);
    assert_int_equal(w->marks.count, 4); /* a run each, of the topic that may lose some */
    client_expect_just(&r, &named, MESSAGE("t", "1", "1"));
    client_expect_just(&r, &named, MESSAGE("t", "2", "2"));
    client_expect_just(&r, &named, MESSAGE("t", "3", "3"));
    client_expect_just(&r, &named, MESSAGE("t", "4", "4"));
    client_expect_just(&r, &named, MESSAGE("t", "5", "7"));
    client_expect_just(&r, &named, MESSAGE("u", "6", "8"));
    client_expect_nothing(&r, &named);
    client_expect_just(&r, &matched, MATCHED("t", "3", "3", ">"));
    client_expect_nothing(&r, &matched);
    assert_false(mailbox_crowded(&w->box, 0));
    client_drop(&r, &named);
    client_drop(&r, &matched);
    rig_close(&r);
}

/* By name nobody is here; the name comes with the message then. */
static void mail_by_pattern_needs_no_local_topic(void **state)
{
    (void)state;
    struct rig r;
    struct client c, other;
    rig_open(&r, 2, rig_limits());
    client_open2(&r, 0, &c, 0);
    client_open2(&r, 1, &other, 0);
    client_subscribe_pattern(&r, &c, "s:*");
    rig_publish_text(&r, "s:\xc3\xa4\"", "1");
    client_expect_just(&r, &c, "%s", MATCHED("s:\xc3\xa4\\\"", "1", "1", "s:*"));
    client_subscribe(&r, &other, "s:a");
    rig_publish_text(&r, "s:a", "2");
    client_expect_just(&r, &c, "%s", MATCHED("s:a", "2", "1", "s:*"));
    client_expect_just(&r, &other, "%s", MESSAGE("s:a", "2", "1"));
    client_drop(&r, &c);
    client_drop(&r, &other);
    rig_close(&r);
}

/* The mail by a pattern that has ended, and by a topic that has; a newer subscription to the same
 * is not taken for it. */
static void mail_older_than_the_subscription_is_not_for_it(void **state)
{
    (void)state;
    struct rig r;
    struct client leaves, comes;
    rig_open(&r, 1, rig_limits());
    client_open2(&r, 0, &leaves, 0);
    client_open2(&r, 0, &comes, 0);
    client_subscribe_pattern(&r, &leaves, "s:*");
    client_subscribe(&r, &leaves, "s:a");
    rig_publish_text(&r, "s:a", "1");
    rig_publish_text(&r, "s:b", "1");
    session_end(leaves.session, CLOSE_LOST, false);
    rig_publish_text(&r, "s:a", "2"); /* to nobody */
    feed_text(comes.session, "{\"type\":\"subscribe\",\"pattern\":\"s:*\"}");
    feed_text(comes.session, "{\"type\":\"subscribe\",\"topic\":\"s:a\"}");
    client_expect(&r, &comes, "{\"type\":\"ack_subscribe\",\"pattern\":\"s:*\"");
    client_expect(&r, &comes, "{\"type\":\"ack_subscribe\",\"topic\":\"s:a\"");
    client_expect_nothing(&r, &comes);
    rig_publish_text(&r, "s:b", "3");
    client_expect(&r, &comes, "{\"type\":\"message\",\"topic\":\"s:b\",\"data\":3");
    client_drop(&r, &leaves);
    client_drop(&r, &comes);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turn_leaves_what_is_more_than_a_slice_for_the_next),
        cmocka_unit_test(a_queue_that_is_never_empty_drops_its_flushed_part),
        cmocka_unit_test(the_log_is_given_back_though_the_queue_is_never_empty),
        cmocka_unit_test(the_oldest_queued_is_the_first_that_has_something_in_the_log),
        cmocka_unit_test(mail_for_subscribers_that_have_left_is_dropped),
        cmocka_unit_test(both_levels_get_the_same_messages),
        cmocka_unit_test(a_session_gets_a_message_once_whatever_matches),
        cmocka_unit_test(without_echo_all_others_get_it),
        cmocka_unit_test(only_what_follows_each_other_and_goes_to_the_same_is_one_run),
        cmocka_unit_test(mail_by_pattern_needs_no_local_topic),
        cmocka_unit_test(mail_older_than_the_subscription_is_not_for_it),
        cmocka_unit_test(much_mail_is_delivered_before_the_poll_s_round_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
