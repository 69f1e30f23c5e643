#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/worker_harness.h"

enum { PING_MS = 6400, LONG_AGO = 2 * PING_MS / WHEEL_TICK_MS, LARGE = 300 * 1000 };

static void watched_open(struct rig *r, struct client *c, int send_buffer)
{
    struct session_limits limits = rig_limits();
    limits.ping_ms = PING_MS;
    limits.pong_ms = 10000;
    rig_open(r, 1, limits);
    client_open(r, 0, c, send_buffer);
}

static void silent_for_long(struct rig *r, struct session *s)
{
    s->deadline.since = wheel_tick(&r->shop.workers[0].wheel) - LONG_AGO;
}

/* Seen to fail without the look at `silent`, and with NO_PONG answered by another ping. */
static void the_silent_are_pinged_and_then_closed(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    watched_open(&r, &c, 0);
    assert_false(list_empty(&c.session->deadline.node));
    session_deadline(c.session);
    assert_false(c.session->pinged);
    silent_for_long(&r, c.session);
    session_deadline(c.session);
    assert_true(c.session->pinged);
    rig_turn(&r);
    char frame[3];
    assert_int_equal(recv(c.peer.fd, frame, sizeof frame, MSG_DONTWAIT | MSG_PEEK), 2);
    assert_memory_equal(frame, "\x89\x00", 2);
    session_deadline(c.session);
    assert_int_equal(c.session->state, SESSION_CLOSING);
    assert_int_equal(rig_metric(&r, METRIC_closed_no_pong_total), 1);
    client_expect_close(&r, &c, 1011);
    client_drop(&r, &c);
    rig_close(&r);
}

/* Seen to fail without session_read in session_deadline. */
static void what_has_come_and_was_not_read_yet_counts(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    watched_open(&r, &c, 0);
    silent_for_long(&r, c.session);
    session_deadline(c.session);
    assert_true(peer_send_frame(&c.peer, PEER_PONG, "", 0));
    session_deadline(c.session);
    assert_int_equal(c.session->state, SESSION_OPEN);
    assert_false(c.session->pinged);
    client_drop(&r, &c);
    rig_close(&r);
}

/* The ping is behind what the kernel still has. Seen to fail with session_advanced false, and with
 * it true. */
static void a_line_that_moves_is_not_dead_and_one_that_stands_is(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    char some[4096];
    watched_open(&r, &c, SMALL_BUFFER);
    block(c.session, '0', LARGE);
    silent_for_long(&r, c.session);
    session_deadline(c.session);
    assert_true(c.session->pinged);
    silent_for_long(&r, c.session);
    assert_true(recv(c.peer.fd, some, sizeof some, MSG_DONTWAIT) > 0);
    session_deadline(c.session);
    assert_int_equal(c.session->state, SESSION_OPEN);
    assert_true(c.session->pinged);
    assert_false(list_empty(&c.session->deadline.node));
    session_deadline(c.session);
    assert_int_equal(c.session->state, SESSION_CLOSING);
    assert_int_equal(rig_metric(&r, METRIC_closed_no_pong_total), 1);
    client_drop(&r, &c);
    rig_close(&r);
}

static void send_large(struct session *s, size_t len)
{
    char *data = calloc(1, len);
    struct buf b = {0};
    assert_non_null(data);
    ws_frame(&b, WS_TEXT, data, len);
    session_send(s, buf_text(&b));
    session_flush(s);
    assert_false(s->blocked);
    buf_fini(&b);
    free(data);
}

/* Less is taken than is written meanwhile, and then nothing. Seen to fail with what was sent since
 * the ping left in session_advanced. */
static void what_is_written_behind_a_ping_does_not_hide_what_was_taken(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    char some[20000];
    watched_open(&r, &c, 0);
    for (int i = 0; i < 3; i++)
        send_large(c.session, sizeof some);
    silent_for_long(&r, c.session);
    session_deadline(c.session);
    assert_true(c.session->pinged);
    send_large(c.session, 30000);
    assert_int_equal(recv(c.peer.fd, some, sizeof some, MSG_DONTWAIT), sizeof some);
    assert_int_equal(recv(c.peer.fd, some, 4, MSG_DONTWAIT), 4);
    session_deadline(c.session);
    assert_int_equal(c.session->state, SESSION_OPEN);
    send_large(c.session, 30000);
    session_deadline(c.session);
    assert_int_equal(c.session->state, SESSION_CLOSING);
    client_drop(&r, &c);
    rig_close(&r);
}

/* Seen to fail without the look at `paused` in session_deadline. */
static void who_is_not_read_from_is_not_called_silent(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    watched_open(&r, &c, 0);
    struct worker *w = &r.shop.workers[0];
    w->listing = 0;
    worker_listed(w, c.session, 0);
    assert_true(c.session->paused);
    silent_for_long(&r, c.session);
    session_deadline(c.session);
    assert_false(c.session->pinged);
    assert_int_equal(c.session->state, SESSION_OPEN);
    client_drop(&r, &c);
    rig_close(&r);
}

/* Seen to fail without `full` being set in session_read, and without its end in session_sent_all.
 */
static void who_takes_nothing_is_not_read_from_until_it_has_taken_all(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &c, SMALL_BUFFER);
    block(c.session, '0', LARGE);
    assert_true(peer_sendf(&c.peer, "{\"type\":\"subscribe\",\"topic\":\"a\"}"));
    rig_settle(&r);
    assert_true(c.session->full);
    assert_int_equal(rig_metric(&r, METRIC_subscriptions), 1);
    assert_true(peer_sendf(&c.peer, "{\"type\":\"subscribe\",\"topic\":\"b\"}"));
    rig_settle(&r);
    assert_int_equal(rig_metric(&r, METRIC_subscriptions), 1);
    client_expect(&r, &c, "0");
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"topic\":\"a\"");
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"topic\":\"b\"");
    assert_false(c.session->full);
    client_drop(&r, &c);
    rig_close(&r);
}

/* The peer goes while bytes for it are queued: the write tells. */
static void a_peer_that_went_is_noticed_by_the_next_write(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &c, 0);
    client_subscribe(&r, &c, "t");
    rig_publish_text(&r, "t", "1");
    peer_drop(&c.peer, false);
    rig_turn(&r); /* the turn comes before the poll */
    assert_int_equal(rig_metric(&r, METRIC_sessions), 0);
    assert_int_equal(rig_metric(&r, METRIC_closed_lost_total), 1);
    assert_int_equal(rig_publish_text(&r, "t", "2").offset, 0);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_silent_are_pinged_and_then_closed),
        cmocka_unit_test(what_has_come_and_was_not_read_yet_counts),
        cmocka_unit_test(a_line_that_moves_is_not_dead_and_one_that_stands_is),
        cmocka_unit_test(what_is_written_behind_a_ping_does_not_hide_what_was_taken),
        cmocka_unit_test(who_is_not_read_from_is_not_called_silent),
        cmocka_unit_test(who_takes_nothing_is_not_read_from_until_it_has_taken_all),
        cmocka_unit_test(a_peer_that_went_is_noticed_by_the_next_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
