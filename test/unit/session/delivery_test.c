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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turn_leaves_what_is_more_than_a_slice_for_the_next),
        cmocka_unit_test(a_queue_that_is_never_empty_drops_its_flushed_part),
        cmocka_unit_test(the_log_is_given_back_though_the_queue_is_never_empty),
        cmocka_unit_test(the_oldest_queued_is_the_first_that_has_something_in_the_log),
        cmocka_unit_test(mail_for_subscribers_that_have_left_is_dropped),
        cmocka_unit_test(much_mail_is_delivered_before_the_poll_s_round_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
