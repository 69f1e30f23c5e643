/* Sessions by server-sent events, turn by turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/sse.h"
#include "support/worker_harness.h"

/* Sends a request; its session has not answered yet. */
static void ask(struct rig *r, struct client *c, int send_buffer, const char *query)
{
    char request[512];
    client_connect(r, 0, c, send_buffer, REFUSAL_NONE);
    int len =
        snprintf(request, sizeof request, "GET /sse?%s HTTP/1.1\r\nHost: localhost\r\n\r\n", query);
    assert_true(peer_send_bytes(&c->peer, request, (size_t)len));
}

/* What has come and is not taken yet, with a zero behind it; the workers turn for it. */
static const char *come(struct rig *r, struct client *c)
{
    rig_settle(r);
    int waiting = 0;
    while (ioctl(c->peer.fd, FIONREAD, &waiting) == 0 && waiting > 0) {
        assert_int_equal(peer_fill(&c->peer, false), 1);
        rig_settle(r);
    }
    char *bytes = malloc(c->peer.len - c->peer.at + 1);
    assert_non_null(bytes);
    memcpy(bytes, c->peer.bytes + c->peer.at, c->peer.len - c->peer.at);
    bytes[c->peer.len - c->peer.at] = '\0';
    c->peer.at = c->peer.len;
    return bytes;
}

static void take(struct rig *r, struct client *c, const char *expected)
{
    const char *bytes = come(r, c);
    assert_string_equal(bytes, expected);
    free((void *)(uintptr_t)bytes);
}

/* Takes all of it, which ends with that. */
static void take_up_to(struct rig *r, struct client *c, const char *end)
{
    const char *bytes = come(r, c);
    size_t len = strlen(bytes);
    if (len < strlen(end) || strcmp(bytes + len - strlen(end), end) != 0)
        fail_msg("%s does not end with %s", bytes, end);
    free((void *)(uintptr_t)bytes);
}

static void open_stream(struct rig *r, struct client *c, int send_buffer, const char *query)
{
    ask(r, c, send_buffer, query);
    rig_turn(r);
    assert_int_equal(c->session->state, SESSION_OPEN);
    assert_true(c->session->conn.unframed && c->session->enveloped && c->session->deaf);
    take_up_to(r, c, "}\n\n");
}

#define EPOCH(topic) epoch_of(&r, topic)
static const char *epoch_of(struct rig *r, const char *topic)
{
    static char digits[EPOCH_DIGITS + 1];
    struct route *route = &r->shop.route;
    struct route_state state = route_history(route, rig_rule(r, topic),
        registry_hash(&route->registry, text_of(topic)), text_of(topic), NULL, 0);
    memcpy(digits, epoch_text(state.epoch).digits, EPOCH_DIGITS);
    return digits;
}

/* Broken by one segment more or less in deliver_to_topic, for each: fails. */
static void each_kind_of_subscriber_gets_its_own_bytes(void **state)
{
    (void)state;
    struct rig r;
    struct client stream, one, two;
    char expected[256];
    rig_open(&r, 2, rig_limits());
    open_stream(&r, &stream, 0, "topic=t");
    client_open(&r, 0, &one, 0);
    client_open2(&r, 0, &two, 0);
    client_subscribe(&r, &one, "t");
    client_subscribe(&r, &two, "t");
    rig_publish_text(&r, "t", "{\"a\":\n1}");
    snprintf(expected, sizeof expected,
        "id: %s:1\ndata: {\"type\":\"message\",\"topic\":\"t\",\"data\":{\"a\": "
        "1},\"offset\":1}"
        "\n\n",
        EPOCH("t"));
    take(&r, &stream, expected);
    client_expect_just(&r, &one, "{\"a\":\n1}");
    client_expect_just(
        &r, &two, "{\"type\":\"message\",\"topic\":\"t\",\"data\":{\"a\":\n1},\"offset\":1}");
    peer_drop(&stream.peer, false);
    peer_drop(&one.peer, false);
    peer_drop(&two.peer, false);
    rig_close(&r);
}

static void by_a_pattern_alike(void **state)
{
    (void)state;
    struct rig r;
    struct client stream, two;
    rig_open(&r, 2, rig_limits());
    open_stream(&r, &stream, 0, "pattern=a:*");
    client_open2(&r, 0, &two, 0);
    client_subscribe_pattern(&r, &two, "a:*");
    rig_publish_text(&r, "a:b", "1");
    static const char envelope[] =
        "{\"type\":\"message\",\"topic\":\"a:b\",\"data\":1,\"offset\":1,"
        "\"pattern\":\"a:*\"}";
    client_expect_just(&r, &two, "%s", envelope);
    char expected[256];
    snprintf(expected, sizeof expected, "data: %s\n\n", envelope);
    take(&r, &stream, expected);
    peer_drop(&stream.peer, false);
    peer_drop(&two.peer, false);
    rig_close(&r);
}

static void bytes_are_made_once_for_all_streams(void **state)
{
    (void)state;
    struct rig r;
    struct client streams[5];
    rig_open(&r, 1, rig_limits());
    for (int i = 0; i < 5; i++)
        open_stream(&r, &streams[i], 0, "topic=t");
    for (int i = 0; i < 5; i++)
        streams[i].session->blocked = true; /* so that nothing is sent */
    struct worker *w = &r.shop.workers[0];
    uint64_t before = w->log.end;
    rig_publish_text(&r, "t", "1");
    mailbox_take(&w->box, &w->tray);
    worker_deliver(w);
    struct span span = outbox_span(&streams[0].session->out, 0);
    assert_true(span.start == before && span.end == w->log.end);
    for (int i = 0; i < 5; i++) {
        assert_true(streams[i].session->out.first.start == span.start);
        assert_true(streams[i].session->out.first.end == span.end);
        streams[i].session->blocked = false;
        peer_drop(&streams[i].peer, false);
    }
    rig_close(&r);
}

static void input_is_thrown_away_and_its_end_is_the_end(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    open_stream(&r, &c, 0, "topic=t");
    assert_true(peer_send_bytes(&c.peer, "\x81\x01x\xff\xff\xff", 6));
    rig_settle(&r);
    assert_int_equal(c.session->state, SESSION_OPEN);
    assert_int_equal(shutdown(c.peer.fd, SHUT_WR), 0);
    rig_settle(&r);
    assert_int_equal(rig_metric(&r, METRIC_sessions), 0);
    assert_int_equal(rig_metric(&r, METRIC_closed_normal_total), 1);
    peer_drop(&c.peer, false);
    rig_close(&r);
}

static void whoever_ends_it_tells_why(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    open_stream(&r, &c, 0, "topic=t");
    session_dismiss(c.session, 4001, "so");
    take(&r, &c, "event: hermes\ndata: {\"type\":\"close\",\"code\":4001,\"reason\":\"so\"}\n\n");
    assert_int_equal(peer_fill(&c.peer, false), 0);
    peer_drop(&c.peer, false);
    rig_close(&r);
}

/* Broken by a cut that leaves what the socket took as it is: fails. */
static void a_slow_one_is_cut_behind_an_event(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    for (size_t size = 10; size < 30000; size *= 3) {
        rig_open(&r, 1, rig_limits());
        open_stream(&r, &c, SMALL_BUFFER, "topic=t");
        for (int i = 0; i < 200; i++)
            rig_publish_large(&r, "t", '1', size);
        rig_turn(&r);
        rig_turn(&r);
        if (c.session->blocked) {
            session_close(c.session, CLOSE_TOO_SLOW);
            take_up_to(&r, &c,
                "}\n\nevent: hermes\ndata: {\"type\":\"close\",\"code\":4008,\"reason\":\"too "
                "slow\"}\n\n");
        }
        assert_true(size < 100 || rig_metric(&r, METRIC_closed_too_slow_total) == 1);
        peer_drop(&c.peer, false);
        rig_close(&r);
    }
}

static void a_ping_is_a_comment(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct session_limits limits = rig_limits();
    limits.ping_ms = 1000000;
    rig_open(&r, 1, limits);
    open_stream(&r, &c, 0, "topic=t");
    c.session->deadline.since -= 2 * 1000000 / WHEEL_TICK_MS;
    session_deadline(c.session);
    assert_true(c.session->pinged);
    take(&r, &c, ":\n\n");
    /* All is taken, as far as the kernel tells: it lives, and this counts from the ping on. */
    session_deadline(c.session);
    assert_false(c.session->pinged);
    assert_int_equal(c.session->state, SESSION_OPEN);
    peer_drop(&c.peer, false);
    rig_close(&r);
}

static void a_dead_one_is_ended(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct session_limits limits = rig_limits();
    limits.ping_ms = 1000000;
    rig_open(&r, 1, limits);
    open_stream(&r, &c, SMALL_BUFFER, "topic=t");
    for (int i = 0; i < 20; i++)
        rig_publish_large(&r, "t", '1', 10000);
    rig_settle(&r);
    assert_true(c.session->blocked);
    c.session->deadline.since -= 2 * 1000000 / WHEEL_TICK_MS;
    session_deadline(c.session);
    assert_true(c.session->pinged);
    session_deadline(c.session);
    assert_int_equal(rig_metric(&r, METRIC_closed_no_pong_total), 1);
    peer_drop(&c.peer, false);
    rig_close(&r);
}

/* The policy of a rule is for those who can be told of gaps in their queue. */
static void a_stream_loses_nothing_by_a_policy(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct rule rule = rig_keeps("t", 5);
    rule.policy = POLICY_LATEST;
    rig_open(&r, 1, rig_limits());
    rig_use_rules(&r, &rule, 1);
    rig_settle(&r);
    open_stream(&r, &c, 0, "topic=t");
    assert_int_equal(c.session->lenient, 0);
    peer_drop(&c.peer, false);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_subscriber_gets_its_own_bytes),
        cmocka_unit_test(by_a_pattern_alike),
        cmocka_unit_test(bytes_are_made_once_for_all_streams),
        cmocka_unit_test(input_is_thrown_away_and_its_end_is_the_end),
        cmocka_unit_test(whoever_ends_it_tells_why),
        cmocka_unit_test(a_slow_one_is_cut_behind_an_event),
        cmocka_unit_test(a_ping_is_a_comment),
        cmocka_unit_test(a_dead_one_is_ended),
        cmocka_unit_test(a_stream_loses_nothing_by_a_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
