/* How a session ends: what it still sends, what it still reads, and for how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/worker_harness.h"

enum { LARGE = 100 * 1000 };

static void send_frames(struct client *c, struct buf *b)
{
    assert_true(peer_send_bytes(&c->peer, b->data, b->len));
    buf_fini(b);
}

static void send_close(struct rig *r, struct client *c)
{
    struct buf b = {0};
    add_frame(&b, PEER_CLOSE, "\x03\xe8", 2);
    send_frames(c, &b);
    rig_settle(r);
}

static bool deadline_set(struct session *s)
{
    return !list_empty(&s->deadline.node);
}

/* Seen to fail with `deaf` never set, and without conn_finish in session_sent_all. */
static void after_a_violation_nothing_is_understood_any_more(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &c, 0);
    assert_true(peer_send_bytes(&c.peer,
        "\x81\x01"
        "1",
        3)); /* not masked */
    client_expect_close(&r, &c, 1002);
    assert_true(c.session->deaf && c.session->finished);
    assert_true(deadline_set(c.session));
    send_close(&r, &c);
    assert_int_equal(c.session->state, SESSION_CLOSING);
    client_drop(&r, &c);
    assert_int_equal(rig_metric(&r, METRIC_connections), 0);
    assert_int_equal(rig_metric(&r, METRIC_closed_protocol_total), 1);
    assert_int_equal(rig_metric(&r, METRIC_closed_lost_total), 0);
    rig_close(&r);
}

/* Seen to fail with `deaf` set by session_close, and with `events` in place of last_events. */
static void behind_our_close_frame_only_the_peers_is_waited_for(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &c, 0);
    struct buf b = {0};
    add_text(&b, "{\"type\":\"subscribe\",\"topic\":\"t\"}");
    assert_true(peer_send_bytes(&c.peer, b.data, 10)); /* it is in the midst of a frame */
    rig_settle(&r);
    session_close(c.session, CLOSE_SHUTDOWN);
    rig_settle(&r);
    assert_true(peer_send_bytes(&c.peer, b.data + 10, b.len - 10));
    buf_clear(&b);
    add_frame(&b, PEER_PING, "p", 1);
    send_frames(&c, &b);
    rig_settle(&r);
    assert_int_equal(c.session->state, SESSION_CLOSING);
    assert_int_equal(rig_metric(&r, METRIC_commands_total), 0);
    send_close(&r, &c);
    assert_int_equal(rig_metric(&r, METRIC_connections), 0);
    assert_int_equal(rig_metric(&r, METRIC_closed_shutdown_total), 1);
    assert_int_equal(rig_metric(&r, METRIC_closed_normal_total), 0);
    client_expect_close(&r, &c, 1012); /* and nothing else: neither ack nor pong */
    client_drop(&r, &c);
    rig_close(&r);
}

/* Seen to fail without `code != 0` where session_receive sets deaf. */
static void who_violates_the_protocol_while_it_closes_is_waited_for_no_longer_than_others(
    void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &c, 0);
    session_close(c.session, CLOSE_SHUTDOWN);
    assert_true(peer_send_bytes(&c.peer, "\x81\x01", 2));
    rig_settle(&r);
    send_close(&r, &c);
    assert_int_equal(c.session->state, SESSION_CLOSING);
    session_deadline(c.session);
    assert_int_equal(c.session->state, SESSION_ENDED);
    client_expect_close(&r, &c, 1012);
    client_drop(&r, &c);
    rig_close(&r);
}

/* Seen to fail without wheel_set for the patient in session_flush, and with `cut` on SHUTDOWN. */
static void a_blocked_session_may_take_what_is_queued_at_a_shutdown(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    const char *payload;
    size_t len;
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &c, SMALL_BUFFER);
    block(c.session, '0', LARGE);
    session_send(c.session, TEXT("\x81\x01"
                                 "1"));
    session_close(c.session, CLOSE_SHUTDOWN);
    assert_true(c.session->patient);
    wheel_unset(&r.shop.workers[0].wheel, &c.session->deadline);
    rig_turn(&r);
    assert_false(deadline_set(c.session)); /* nothing moved */
    assert_int_equal(peer_try(&c.peer, &payload, &len), PEER_NOTHING);
    rig_turn(&r);
    assert_true(c.session->blocked);
    assert_true(deadline_set(c.session));
    client_expect(&r, &c, "0");
    client_expect(&r, &c, "1");
    client_expect_close(&r, &c, 1012);
    assert_int_equal(rig_metric(&r, METRIC_dropped_bytes_total), 0);
    client_drop(&r, &c);
    rig_close(&r);
}

/* Seen to fail with `patient` for every reason, and with session_say_last never cutting. */
static void a_blocked_session_that_is_cut_takes_the_rest_of_one_frame_in_one_time(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    const char *payload;
    size_t len;
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &c, SMALL_BUFFER);
    block(c.session, '0', LARGE);
    session_send(c.session, TEXT("\x81\x01"
                                 "1"));
    session_close(c.session, CLOSE_TOO_SLOW);
    assert_false(c.session->patient);
    assert_true(deadline_set(c.session));
    assert_int_equal(rig_metric(&r, METRIC_dropped_bytes_total), 3);
    wheel_unset(&r.shop.workers[0].wheel, &c.session->deadline);
    assert_int_equal(peer_try(&c.peer, &payload, &len), PEER_NOTHING);
    rig_turn(&r);
    assert_true(c.session->blocked);
    assert_false(deadline_set(c.session));
    client_expect(&r, &c, "0");
    client_expect_close(&r, &c, 4008);
    assert_true(deadline_set(c.session));
    client_drop(&r, &c);
    rig_close(&r);
}

/* Seen to fail with session_say_last doing nothing the second time. */
static void closing_twice_ends_it(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &c, 0);
    session_close(c.session, CLOSE_SHUTDOWN);
    session_close(c.session, CLOSE_TOO_SLOW);
    assert_int_equal(c.session->state, SESSION_ENDED);
    session_end(c.session, CLOSE_LOST, false); /* nor does it end twice */
    rig_settle(&r);
    assert_int_equal(rig_metric(&r, METRIC_closed_shutdown_total), 1);
    assert_int_equal(rig_metric(&r, METRIC_closed_too_slow_total), 0);
    assert_int_equal(rig_metric(&r, METRIC_connections), 0);
    client_drop(&r, &c);
    rig_close(&r);
}

/* Seen to fail with session_end at every end of the peer's side. */
static void who_ends_its_side_still_gets_what_was_queued(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    const char *payload;
    size_t len;
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &c, SMALL_BUFFER);
    client_subscribe(&r, &c, "t");
    block(c.session, '0', LARGE);
    rig_publish_text(&r, "t", "1");
    rig_turn(&r);
    shutdown(c.peer.fd, SHUT_WR);
    rig_settle(&r);
    assert_int_equal(c.session->state, SESSION_CLOSING);
    assert_true(c.session->patient);
    assert_true(deadline_set(c.session));
    assert_int_equal(rig_publish_text(&r, "t", "2").offset, 0); /* it has left */
    client_expect(&r, &c, "0");
    client_expect(&r, &c, "1");
    assert_int_equal(client_next(&r, &c, &payload, &len), PEER_END);
    assert_int_equal(rig_metric(&r, METRIC_connections), 0);
    assert_int_equal(rig_metric(&r, METRIC_closed_lost_total), 1);
    client_drop(&r, &c);
    client_open(&r, 0, &c, 0);
    shutdown(c.peer.fd, SHUT_WR);
    rig_settle(&r);
    assert_int_equal(rig_metric(&r, METRIC_connections), 0); /* with nothing queued, at once */
    client_drop(&r, &c);
    rig_close(&r);
}

/* The deadline of a session that closes is the end of it. Seen to fail without the look at CLOSING
 * in session_deadline. */
static void who_takes_nothing_is_gone_at_the_deadline(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &c, SMALL_BUFFER);
    block(c.session, '0', LARGE);
    session_close(c.session, CLOSE_SHUTDOWN);
    session_deadline(c.session);
    assert_int_equal(c.session->state, SESSION_ENDED);
    assert_true(rig_metric(&r, METRIC_dropped_bytes_total) > LARGE / 2);
    client_drop(&r, &c);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_violation_nothing_is_understood_any_more),
        cmocka_unit_test(behind_our_close_frame_only_the_peers_is_waited_for),
        cmocka_unit_test(
            who_violates_the_protocol_while_it_closes_is_waited_for_no_longer_than_others),
        cmocka_unit_test(a_blocked_session_may_take_what_is_queued_at_a_shutdown),
        cmocka_unit_test(a_blocked_session_that_is_cut_takes_the_rest_of_one_frame_in_one_time),
        cmocka_unit_test(closing_twice_ends_it),
        cmocka_unit_test(who_ends_its_side_still_gets_what_was_queued),
        cmocka_unit_test(who_takes_nothing_is_gone_at_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
