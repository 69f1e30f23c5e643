#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hermes/protocol.h"
#include "support/worker_harness.h"

enum { CROWDED = 4000 };

static void publish_through(struct client *c, const char *topic, size_t len)
{
    char *data = malloc(len + 1);
    assert_non_null(data);
    memset(data, '1', len);
    data[len] = '\0';
    assert_true(peer_sendf(&c->peer, "{\"topic\":\"%s\",\"data\":%s}", topic, data));
    free(data);
}

/* Worker 1 has not turned, and its mailbox is full of what worker 0's client published. */
static void crowd(struct rig *r, struct client *publisher, struct client *subscriber)
{
    rig_open(r, 2, rig_limits());
    r->shop.route.crowded = CROWDED;
    client_open(r, 0, publisher, 0);
    client_open(r, 1, subscriber, 0);
    client_subscribe(r, subscriber, "t");
    publish_through(publisher, "t", CROWDED + 1);
    uv_run(&r->shop.workers[0].loop, UV_RUN_NOWAIT);
    assert_true(publisher->session->paused);
}

/* Seen to fail without worker_pause in publish(), without MAIL_RESUME in let_waiters_go, and
 * without session_watch in worker_resume_all. */
static void who_crowds_a_mailbox_is_not_read_from_until_it_has_room(void **state)
{
    (void)state;
    struct rig r;
    struct client publisher;
    struct client subscriber;
    crowd(&r, &publisher, &subscriber);
    publish_through(&publisher, "t", 1);
    for (int i = 0; i < 4; i++)
        uv_run(&r.shop.workers[0].loop, UV_RUN_NOWAIT);
    assert_int_equal(rig_metric(&r, METRIC_messages_published_total), 1);
    assert_int_equal(rig_metric(&r, METRIC_paused_sessions), 1);
    uv_run(&r.shop.workers[1].loop, UV_RUN_NOWAIT);
    for (int i = 0; i < 4; i++)
        uv_run(&r.shop.workers[0].loop, UV_RUN_NOWAIT);
    assert_false(publisher.session->paused);
    assert_int_equal(rig_metric(&r, METRIC_messages_published_total), 2);
    client_expect(&r, &subscriber, "1");
    client_expect(&r, &subscriber, "1");
    client_expect_nothing(&r, &subscriber);
    client_drop(&r, &publisher);
    client_drop(&r, &subscriber);
    rig_close(&r);
}

/* Seen to fail with mailbox_crowded's limit of let_waiters_go at `crowded`. */
static void they_wait_until_it_is_half_empty(void **state)
{
    (void)state;
    struct rig r;
    struct client publisher;
    struct client subscriber;
    crowd(&r, &publisher, &subscriber);
    struct mailbox *box = &r.shop.workers[1].box;
    uv_run(&r.shop.workers[1].loop, UV_RUN_NOWAIT);
    uv_run(&r.shop.workers[0].loop, UV_RUN_NOWAIT);
    assert_false(publisher.session->paused);
    /* More than half of it, by mail that stays undelivered: the account alone is raised. */
    atomic_fetch_add(&box->weight, CROWDED * 3 / 4);
    publish_through(&publisher, "t", CROWDED / 2);
    uv_run(&r.shop.workers[0].loop, UV_RUN_NOWAIT);
    assert_true(publisher.session->paused);
    rig_settle(&r);
    assert_true(publisher.session->paused);
    mailbox_done(box, CROWDED * 3 / 4);
    rig_settle(&r);
    assert_false(publisher.session->paused);
    client_drop(&r, &publisher);
    client_drop(&r, &subscriber);
    rig_close(&r);
}

/* Seen to fail with mailbox_wait's answer ignored. */
static void a_mailbox_that_has_room_again_is_not_waited_for(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &c, 0);
    worker_pause(&r.shop.workers[0], c.session, 0);
    assert_false(c.session->paused);
    client_drop(&r, &c);
    rig_close(&r);
}

/* Seen to fail without worker_unpause in session_leave_state, and with it taking the last one. */
static void a_paused_session_that_ends_leaves_the_others_paused(void **state)
{
    (void)state;
    enum { COUNT = 3 };
    struct rig r;
    struct client c[COUNT];
    rig_open(&r, 1, rig_limits());
    struct worker *w = &r.shop.workers[0];
    r.shop.route.crowded = CROWDED;
    for (int i = 0; i < COUNT; i++)
        client_open(&r, 0, &c[i], 0);
    atomic_fetch_add(&w->box.weight, CROWDED + 1);
    for (int i = 0; i < COUNT; i++) {
        worker_pause(w, c[i].session, 0);
        worker_pause(w, c[i].session, 0); /* twice is once */
    }
    assert_int_equal(w->paused_count, COUNT);
    session_end(c[0].session, CLOSE_LOST, false);
    session_close(c[1].session, CLOSE_SHUTDOWN);
    assert_int_equal(w->paused_count, 1);
    assert_true(w->paused[0] == c[2].session);
    assert_int_equal(rig_metric(&r, METRIC_paused_sessions), 1);
    client_expect_close(&r, &c[1], 1012);
    mailbox_done(&w->box, CROWDED + 1);
    rig_settle(&r);
    assert_false(c[2].session->paused);
    for (int i = 0; i < COUNT; i++)
        client_drop(&r, &c[i]);
    rig_close(&r);
}

/* --- listings --------------------------------------------------------------------------------- */

#define LIST "{\"type\":\"topics\"}"

/* Seen to fail without pause_reading in worker_listed, and without its timer (it hangs). */
static void who_lists_more_than_is_earned_is_not_read_from_for_a_while(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    struct worker *w = &r.shop.workers[0];
    client_open(&r, 0, &c, 0);
    w->listing = 2 * REGISTRY_STRIPES;
    w->listing_ms = uv_now(&w->loop);
    feed_text(c.session, LIST);
    assert_false(c.session->paused);
    feed_text(c.session, LIST);
    assert_false(c.session->paused); /* all is spent, and nothing is owed */
    feed_text(c.session, LIST);
    assert_true(c.session->paused);
    assert_int_equal(w->listing, -REGISTRY_STRIPES);
    while (c.session->paused)
        rig_turn(&r); /* for about a millisecond */
    for (int i = 0; i < 3; i++)
        client_expect(&r, &c, "{\"type\":\"topics\",\"topics\":[]");
    client_drop(&r, &c);
    rig_close(&r);
}

/* Seen to fail with worker_may_list always true. */
static void a_listing_is_refused_when_too_much_is_owed(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    struct worker *w = &r.shop.workers[0];
    client_open(&r, 0, &c, 0);
    w->listing = -1;
    w->listing_ms = uv_now(&w->loop);
    feed_text(c.session, LIST); /* what others owe is not held against it */
    assert_true(c.session->paused);
    feed_text(c.session, LIST);
    w->listing = -1000 * 1000;
    w->listing_ms = uv_now(&w->loop) - 2000; /* 4000000 are earned, 1000000 kept */
    feed_text(c.session, LIST);
    assert_int_equal(w->listing, 1000 * 1000 - REGISTRY_STRIPES);
    client_expect(&r, &c, "{\"type\":\"topics\"");
    client_expect(&r, &c, "{\"type\":\"error\",\"message\":\"" HERMES_TEXT_LISTINGS);
    client_expect(&r, &c, "{\"type\":\"topics\"");
    assert_int_equal(rig_metric(&r, METRIC_errors_sent_total), 1);
    client_drop(&r, &c);
    rig_close(&r);
}

/* --- the log's budget --------------------------------------------------------------------------
 */

/* Seen to fail without copy_out_few in session_let_go, and with it for every length. */
static void a_quiet_session_does_not_pay_for_the_traffic_of_others(void **state)
{
    (void)state;
    enum { BUDGET = 8 * LOG_CHUNK, PART = 250 * 1000, PARTS = 16 };
    struct rig r;
    struct client quiet;
    struct client busy;
    struct session_limits limits = rig_limits();
    limits.backlog_bytes = BUDGET;
    rig_open(&r, 1, limits);
    struct worker *w = &r.shop.workers[0];
    client_open(&r, 0, &quiet, SMALL_BUFFER);
    client_open(&r, 0, &busy, SMALL_BUFFER);
    client_subscribe(&r, &busy, "t");
    block(quiet.session, '0', 15000); /* fewer than COPY_OUT_MAX */
    for (int i = 0; i < PARTS && busy.session->state == SESSION_OPEN; i++) {
        assert_true(rig_publish_large(&r, "t", '1', PART).offset > 0);
        rig_turn(&r);
        assert_in_range(log_size(&w->log), 0, BUDGET);
    }
    assert_int_equal(busy.session->state, SESSION_CLOSING);
    assert_int_equal(quiet.session->state, SESSION_OPEN);
    assert_int_equal(rig_metric(&r, METRIC_closed_too_slow_total), 1);
    client_expect(&r, &quiet, "0");
    client_expect_nothing(&r, &quiet);
    client_expect(&r, &busy, "1");
    client_expect_close(&r, &busy, 4008);
    client_drop(&r, &quiet);
    client_drop(&r, &busy);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_crowds_a_mailbox_is_not_read_from_until_it_has_room),
        cmocka_unit_test(they_wait_until_it_is_half_empty),
        cmocka_unit_test(a_mailbox_that_has_room_again_is_not_waited_for),
        cmocka_unit_test(a_paused_session_that_ends_leaves_the_others_paused),
        cmocka_unit_test(who_lists_more_than_is_earned_is_not_read_from_for_a_while),
        cmocka_unit_test(a_listing_is_refused_when_too_much_is_owed),
        cmocka_unit_test(a_quiet_session_does_not_pay_for_the_traffic_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
