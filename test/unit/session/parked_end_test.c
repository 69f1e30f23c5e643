/* Sessions that end with commands waiting, and what keeps its order among these. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hermes/protocol.h"
#include "session/aside.h"
#include "session/drain.h"
#include "session/parked.h"
#include "support/worker_harness.h"

#include "support/fake_cluster.h"

static void open_all(struct rig *r, struct fake *f, struct client *c)
{
    rig_open(r, 1, rig_limits());
    fake_open(f, r);
    client_open2(r, 0, c, 0);
}

static void close_all(struct rig *r, struct fake *f, struct client *c)
{
    client_drop(r, c);
    fake_close(f);
    assert_int_equal(r->shop.workers[0].parked_bytes, 0);
    rig_close(r);
}

/* A subscribe that waits, and two publishes behind it. */
static void add_row(struct buf *b)
{
    add_text(b, "{\"type\":\"subscribe\",\"topic\":\"new\"}");
    add_text(b, "{\"type\":\"publish\",\"topic\":\"out\",\"data\":1,\"id\":1}");
    add_text(b, "{\"type\":\"publish\",\"topic\":\"out\",\"data\":2}");
}

/* In one message, as they came in one row. */
static void expect_published(struct fake *f)
{
    struct errand *e = fake_take(f, ERRAND_PUBLISH, "out");
    assert_int_equal(e->message->count, 2);
    fake_number(f, e, 2, 0);
}

/* Seen to fail (nothing is published) when the close is acted on at once. */
static void who_closes_in_order_has_published_what_it_sent_before(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    struct buf b = {0};
    open_all(&r, &f, &c);
    add_row(&b);
    add_frame(&b, PEER_CLOSE, "\x03\xe8", 2);
    feed(c.session, &b);
    struct errand *e = fake_take(&f, ERRAND_FOLLOW, "new");
    fake_expect_nothing(&f);
    client_expect_nothing(&r, &c);
    assert_true(c.session->leaving);
    fake_follow(&f, e, 0);
    expect_published(&f);
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\"");
    client_expect_close(&r, &c, 1000);
    close_all(&r, &f, &c);
}

/* Seen to fail the same way. */
static void who_ends_its_side_has_published_what_it_sent_before(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    struct buf b = {0};
    open_all(&r, &f, &c);
    add_row(&b);
    feed(c.session, &b);
    assert_int_equal(shutdown(c.peer.fd, SHUT_WR), 0);
    rig_settle(&r);
    struct errand *e = fake_take(&f, ERRAND_FOLLOW, "new");
    fake_expect_nothing(&f);
    fake_return(&f, e, ERRAND_UNAVAILABLE);
    expect_published(&f);
    rig_settle(&r);
    assert_int_equal(rig_metric(&r, METRIC_sessions), 0);
    assert_int_equal(rig_metric(&r, METRIC_closed_lost_total), 1);
    close_all(&r, &f, &c);
}

/* Nobody is answered, but nothing is lost either. Seen to fail without publish_last. */
static void who_is_cut_off_has_published_what_it_sent_before(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    struct buf b = {0};
    open_all(&r, &f, &c);
    add_row(&b);
    add_text(&b, "{\"type\":\"publish\",\"topic\":\"\",\"data\":3}");
    add_frame(&b, PEER_PING, "x", 1);
    feed(c.session, &b);
    struct errand *e = fake_take(&f, ERRAND_FOLLOW, "new");
    session_end(c.session, CLOSE_LOST, true);
    expect_published(&f);
    fake_return(&f, e, ERRAND_UNAVAILABLE);
    fake_expect_nothing(&f);
    close_all(&r, &f, &c);
}

/* Its place in the drain comes. */
static void meet(struct session *s)
{
    s->worker->drain_spread_ms = 0;
    wheel_unset(&s->worker->wheel, &s->deadline);
    session_deadline(s);
}

/* Seen to fail (closed at once) when drain.c looks at what is on its way alone. */
static void a_drain_waits_for_commands_that_wait(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    struct buf b = {0};
    open_all(&r, &f, &c);
    add_row(&b);
    feed(c.session, &b);
    struct errand *e = fake_take(&f, ERRAND_FOLLOW, "new");
    r.shop.limits.drain_ms = 24 * 3600 * 1000;
    worker_drain(&r.shop.workers[0]);
    rig_settle(&r);
    meet(c.session);
    assert_true(c.session->leaving);
    assert_int_equal(c.session->state, SESSION_OPEN);
    fake_follow(&f, e, 0);
    expect_published(&f);
    client_expect(&r, &c, "{\"type\":\"reconnect\"");
    client_expect(&r, &c, "{\"type\":\"ack_subscribe\"");
    client_expect(&r, &c, "{\"type\":\"ack_publish\",\"topic\":\"out\",\"offset\":1");
    meet(c.session);
    client_expect_close(&r, &c, 1012);
    close_all(&r, &f, &c);
}

/* Seen to come the other way round without session_answers_later. */
static void errors_and_pongs_keep_their_order_among_the_answers(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    struct buf b = {0};
    const char *payload;
    size_t len;
    open_all(&r, &f, &c);
    add_text(&b, "{\"type\":\"publish\",\"topic\":\"out\",\"data\":1,\"id\":1}");
    add_text(&b, "{\"type\":\"publish\",\"topic\":\"\",\"data\":2,\"id\":2}");
    add_frame(&b, PEER_PING, "x", 1);
    add_text(&b, "{\"type\":\"publish\",\"topic\":\"out\",\"data\":3,\"id\":3}");
    add_frame(&b, PEER_PING, "y", 1);
    feed(c.session, &b);
    client_expect_nothing(&r, &c);
    fake_number(&f, fake_take(&f, ERRAND_PUBLISH, "out"), 1, 0);
    client_expect(&r, &c, "{\"type\":\"ack_publish\",\"topic\":\"out\",\"offset\":1");
    client_expect(&r, &c, "{\"type\":\"error\",\"code\":\"malformed\"");
    assert_int_equal(client_next(&r, &c, &payload, &len), PEER_PONG);
    assert_memory_equal(payload, "x", 1);
    client_expect_nothing(&r, &c);
    fake_number(&f, fake_take(&f, ERRAND_PUBLISH, "out"), 2, 0);
    client_expect(&r, &c, "{\"type\":\"ack_publish\",\"topic\":\"out\",\"offset\":2");
    assert_int_equal(client_next(&r, &c, &payload, &len), PEER_PONG);
    assert_memory_equal(payload, "y", 1);
    assert_false(c.session->parked);
    assert_int_equal(rig_metric(&r, METRIC_errors_sent_total), 1);
    close_all(&r, &f, &c);
}

/* Guarantee 2. Seen to come the other way round without waits_for_far. */
static void what_is_numbered_here_comes_behind_what_went_to_the_cluster_before(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c, reader;
    struct buf b = {0};
    struct rule rule = rig_keeps("near", 0);
    rule.local = true;
    open_all(&r, &f, &c);
    rig_use_rules(&r, &rule, 1);
    rig_settle(&r);
    client_open2(&r, 0, &reader, 0);
    client_subscribe(&r, &reader, "near");
    for (int large = 0; large < 2; large++) {
        char text[20100];
        snprintf(text, sizeof text,
            "{\"type\":\"publish\",\"topic\":\"near\",\"data\":\"%0*d\",\"id\":2}",
            large ? 20000 : 1, 0);
        add_text(&b, "{\"type\":\"publish\",\"topic\":\"far\",\"data\":1,\"id\":1}");
        add_text(&b, text);
        add_text(&b, "{\"type\":\"publish\",\"topic\":\"far\",\"data\":3,\"id\":3}");
        feed(c.session, &b);
        client_expect_nothing(&r, &reader);
        fake_number(&f, fake_take(&f, ERRAND_PUBLISH, "far"), 1, 0);
        client_expect(&r, &reader, "{\"type\":\"message\",\"topic\":\"near\"");
        fake_number(&f, fake_take(&f, ERRAND_PUBLISH, "far"), 2, 0);
        client_expect(&r, &c, "{\"type\":\"ack_publish\",\"topic\":\"far\",\"offset\":1");
        client_expect(&r, &c, "{\"type\":\"ack_publish\",\"topic\":\"near\"");
        client_expect(&r, &c, "{\"type\":\"ack_publish\",\"topic\":\"far\",\"offset\":2");
    }
    client_drop(&r, &reader);
    close_all(&r, &f, &c);
}

/* Seen to fail without wiping what was copied in case it has to wait. */
static void a_token_that_waits_is_not_left_in_memory(void **state)
{
    (void)state;
    static const char auth[] = "{\"type\":\"auth\",\"token\":\"SECRET-SECRET\"}";
    struct rig r;
    struct fake f;
    struct client c;
    open_all(&r, &f, &c);
    feed_text(c.session, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":1}");
    char text[sizeof auth];
    memcpy(text, auth, sizeof auth);
    session_obey(c.session, text, sizeof auth - 1, false);
    assert_true(c.session->parked);
    assert_null(memmem(text, sizeof text, "SECRET", 6));
    const struct buf *untouched = &r.shop.workers[0].untouched;
    assert_true(untouched->len > 0);
    assert_null(memmem(untouched->data, untouched->len, "SECRET", 6));
    fake_number(&f, fake_take(&f, ERRAND_PUBLISH, "t"), 1, 0);
    client_expect(&r, &c, "{\"type\":\"error\"");
    close_all(&r, &f, &c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_closes_in_order_has_published_what_it_sent_before),
        cmocka_unit_test(who_ends_its_side_has_published_what_it_sent_before),
        cmocka_unit_test(who_is_cut_off_has_published_what_it_sent_before),
        cmocka_unit_test(a_drain_waits_for_commands_that_wait),
        cmocka_unit_test(errors_and_pongs_keep_their_order_among_the_answers),
        cmocka_unit_test(what_is_numbered_here_comes_behind_what_went_to_the_cluster_before),
        cmocka_unit_test(a_token_that_waits_is_not_left_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
