#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "support/worker_harness.h"

/* The answer to a request, whole, and then the end of the stream. */
static void expect_answer(struct rig *r, struct client *c, int status, const char *part)
{
    char bytes[2048];
    char line[32];
    rig_settle(r);
    ssize_t got = recv(c->peer.fd, bytes, sizeof bytes - 1, MSG_DONTWAIT);
    assert_true(got > 0);
    bytes[got] = '\0';
    snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
    assert_memory_equal(bytes, line, strlen(line));
    assert_non_null(strstr(bytes, part));
    assert_int_equal(recv(c->peer.fd, bytes, sizeof bytes, MSG_DONTWAIT), 0);
}

static void send_string(struct client *c, const char *bytes)
{
    assert_true(peer_send_bytes(&c->peer, bytes, strlen(bytes)));
}

/* Seen to fail without the session_receive behind upgrade. */
static void a_head_may_come_byte_by_byte_and_frames_right_behind_it(void **state)
{
    (void)state;
    static const char request[] = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
                                  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_connect(&r, 0, &c, 0, REFUSAL_NONE);
    for (size_t i = 0; i + 2 < sizeof request; i++) {
        assert_true(peer_send_bytes(&c.peer, &request[i], 1));
        rig_turn(&r);
        assert_int_equal(c.session->state, SESSION_HEAD);
        assert_non_null(c.session->head);
    }
    struct buf b = {0};
    buf_append_string(&b, "\n");
    add_text(&b, "{\"type\":\"subscribe\",\"topic\":\"t\"}");
    assert_true(peer_send_bytes(&c.peer, b.data, b.len - 1)); /* half a frame */
    rig_settle(&r);
    assert_int_equal(c.session->state, SESSION_OPEN);
    assert_non_null(c.session->reader);
    assert_true(peer_send_bytes(&c.peer, b.data + b.len - 1, 1));
    buf_fini(&b);
    rig_settle(&r);
    client_skip_head(&c);
    client_expect(&r, &c, "{\"type\":\"info\"");
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\",\"topic\":\"t\"");
    client_drop(&r, &c);
    rig_close(&r);
}

/* Seen to fail without conn_finish in answer(), and without `deaf` there (its close frame counts).
 */
static void an_answered_client_is_no_longer_listened_to_and_ends_its_side(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_connect(&r, 0, &c, 0, REFUSAL_NONE);
    send_string(&c, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    expect_answer(&r, &c, 200, "ok");
    assert_int_equal(c.session->state, SESSION_CLOSING);
    assert_true(c.session->finished);
    assert_false(list_empty(&c.session->deadline.node));
    struct buf b = {0};
    add_frame(&b, PEER_CLOSE, "", 0);
    assert_true(peer_send_bytes(&c.peer, b.data, b.len));
    buf_fini(&b);
    rig_settle(&r);
    assert_int_equal(c.session->state, SESSION_CLOSING);
    assert_int_equal(rig_metric(&r, METRIC_connections), 1);
    client_drop(&r, &c);
    assert_int_equal(rig_metric(&r, METRIC_connections), 0);
    assert_int_equal(rig_metric(&r, METRIC_closed_http_total), 1);
    assert_int_equal(rig_metric(&r, METRIC_closed_lost_total), 0); /* counted once */
    rig_close(&r);
}

static void every_refusal_has_its_answer_and_its_counter(void **state)
{
    (void)state;
    static const struct {
        enum connection_refusal why;
        bool unready;
        enum metric metric;
        const char *text;
    } cases[] = {
        {REFUSAL_FULL, false, METRIC_refused_full_total, "as many connections"},
        {REFUSAL_ADDRESS, false, METRIC_refused_address_total, "from your address"},
        {REFUSAL_FULL, true, METRIC_refused_draining_total, "shutting down"},
    };
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        atomic_store(&r.shop.unready, cases[i].unready);
        client_connect(&r, 0, &c, 0, cases[i].why);
        client_request(&c, "/");
        expect_answer(&r, &c, 503, cases[i].text);
        assert_int_equal(rig_metric(&r, cases[i].metric), 1);
        client_drop(&r, &c);
    }
    client_connect(&r, 0, &c, 0, REFUSAL_NONE);
    send_string(&c, "GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_answer(&r, &c, 503, "shutting down");
    client_drop(&r, &c);
    assert_int_equal(rig_metric(&r, METRIC_handshake_failures_total), 0);
    client_connect(&r, 0, &c, 0, REFUSAL_FULL); /* a probe is answered all the same */
    send_string(&c, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_answer(&r, &c, 200, "ok");
    client_drop(&r, &c);
    client_connect(&r, 0, &c, 0, REFUSAL_NONE);
    send_string(&c, "nonsense\r\n\r\n");
    expect_answer(&r, &c, 400, "not a well-formed");
    client_drop(&r, &c);
    assert_int_equal(rig_metric(&r, METRIC_handshake_failures_total), 1);
    rig_close(&r);
}

static unsigned retry_after(struct rig *r, struct client *c)
{
    char bytes[2048];
    unsigned seconds;
    rig_settle(r);
    ssize_t got = recv(c->peer.fd, bytes, sizeof bytes - 1, MSG_DONTWAIT);
    assert_true(got > 0);
    bytes[got] = '\0';
    const char *line = strstr(bytes, "\r\nRetry-After: ");
    assert_non_null(line);
    assert_int_equal(sscanf(line, "\r\nRetry-After: %u\r\n", &seconds), 1);
    client_drop(r, c);
    return seconds;
}

/* Seen to fail with a constant. */
static void who_are_refused_at_once_are_not_told_to_come_back_at_once(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    unsigned told[10] = {0};
    rig_open(&r, 1, rig_limits());
    for (int i = 0; i < 100; i++) {
        atomic_store(&r.shop.unready, i % 2);
        client_connect(&r, 0, &c, 0, REFUSAL_FULL);
        client_request(&c, "/");
        unsigned seconds = retry_after(&r, &c);
        assert_in_range(seconds, 5, 9);
        told[seconds]++;
    }
    for (unsigned seconds = 5; seconds <= 9; seconds++)
        assert_in_range(told[seconds], 10, 30);
    rig_close(&r);
}

static int status_of(struct rig *r, const char *target, const char *headers)
{
    struct client c;
    char bytes[16] = {0};
    client_connect(r, 0, &c, 0, REFUSAL_NONE);
    client_request_with(&c, target, headers);
    rig_settle(r);
    assert_true(recv(c.peer.fd, bytes, 13, MSG_DONTWAIT) == 13);
    client_drop(r, &c);
    return atoi(bytes + 9);
}

/* As many tokens are spent as leave some for who comes back and none for who is new, which time
 * changes: on a machine that is too slow all of it counts for nothing. Seen to fail without
 * comes_back, and with a gate that probes go through. */
static void in_a_crowd_who_says_that_it_was_here_before_comes_in_and_nobody_else(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        const char *header;
        int status;
    } cases[] = {
        {"/", "", 503},
        {"/?resume=1", "", 101},
        {"/x?a=b&resume=1&c", "", 101},
        {"/?resume=0", "", 503},
        {"/?resume", "", 503},
        {"/?noresume=1", "", 503},
        {"/resume=1", "", 503},
        {"/", "Last-Event-ID: 1:2\r\n", 101},
        {"/?topic=t&since=0:1", "", 101},
    };
    struct rig r;
    struct client c;
    int got[sizeof cases / sizeof *cases];
    uint64_t start;
    rig_open(&r, 1, rig_limits());
    gate_init(&r.shop.gate, 1000000);
    do {
        start = clock_ns();
        atomic_store(&r.shop.gate.earned_ns, start + UINT64_C(1900000000));
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            got[i] = status_of(&r, cases[i].target, cases[i].header);
    } while (clock_ns() - start > UINT64_C(800000000));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(got[i], cases[i].status);
    assert_true(rig_metric(&r, METRIC_refused_rate_total) >= 5);
    atomic_store(&r.shop.gate.earned_ns, start + UINT64_C(3600000000000));
    assert_int_equal(status_of(&r, "/?resume=1", ""), 503);
    uint64_t spent = atomic_load(&r.shop.gate.earned_ns);
    client_connect(&r, 0, &c, 0, REFUSAL_NONE);
    send_string(&c, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_answer(&r, &c, 200, "ok");
    client_drop(&r, &c);
    assert_true(atomic_load(&r.shop.gate.earned_ns) == spent);
    rig_close(&r);
}

/* What the queue says. Seen to fail with the gate's answer left out. */
static void who_comes_too_fast_is_told_when_it_would_be_its_turn(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    gate_init(&r.shop.gate, 1);
    atomic_store(&r.shop.gate.earned_ns, clock_ns() + UINT64_C(3600000000000));
    atomic_store(&r.shop.gate.turn_ns, clock_ns() + UINT64_C(30000000000));
    for (unsigned i = 0; i < 10; i++) {
        client_connect(&r, 0, &c, 0, REFUSAL_NONE);
        client_request(&c, "/");
        assert_in_range(retry_after(&r, &c), 20 + i, 31 + i); /* time goes on meanwhile */
    }
    assert_int_equal(rig_metric(&r, METRIC_refused_rate_total), 10);
    rig_close(&r);
}

/* Seen to fail (a leak) without session_leave_state's part for SESSION_HEAD. */
static void half_a_head_ends_at_the_deadline_and_with_the_client(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct session_limits limits = rig_limits();
    limits.handshake_ms = 10000;
    rig_open(&r, 1, limits);
    client_connect(&r, 0, &c, 0, REFUSAL_NONE);
    send_string(&c, "GET / HT");
    rig_settle(&r);
    assert_false(list_empty(&c.session->deadline.node));
    session_deadline(c.session);
    assert_int_equal(c.session->state, SESSION_ENDED);
    assert_int_equal(rig_metric(&r, METRIC_closed_handshake_timeout_total), 1);
    client_drop(&r, &c);
    client_connect(&r, 0, &c, 0, REFUSAL_NONE);
    send_string(&c, "GET / HT");
    rig_settle(&r);
    client_drop(&r, &c);
    assert_int_equal(rig_metric(&r, METRIC_closed_lost_total), 1);
    rig_close(&r);
}

/* Seen to fail without the look at write_now's answer in upgrade(). */
static void a_client_that_is_gone_before_the_answer_never_opens(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_connect(&r, 0, &c, 0, REFUSAL_NONE);
    client_request(&c, "/");
    peer_drop(&c.peer, false);
    rig_turn(&r); /* which reads once: another read would find out */
    assert_int_equal(rig_metric(&r, METRIC_connections), 0);
    assert_int_equal(rig_metric(&r, METRIC_closed_lost_total), 1);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_may_come_byte_by_byte_and_frames_right_behind_it),
        cmocka_unit_test(an_answered_client_is_no_longer_listened_to_and_ends_its_side),
        cmocka_unit_test(every_refusal_has_its_answer_and_its_counter),
        cmocka_unit_test(who_are_refused_at_once_are_not_told_to_come_back_at_once),
        cmocka_unit_test(in_a_crowd_who_says_that_it_was_here_before_comes_in_and_nobody_else),
        cmocka_unit_test(who_comes_too_fast_is_told_when_it_would_be_its_turn),
        cmocka_unit_test(half_a_head_ends_at_the_deadline_and_with_the_client),
        cmocka_unit_test(a_client_that_is_gone_before_the_answer_never_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
