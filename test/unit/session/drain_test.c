#include "session/drain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/outside.h"
#include "support/worker_harness.h"

#include "support/fake_cluster.h"

enum { LARGE = 100 * 1000 };

/* So that no place comes while a test runs, however slow the machine: half a day of them. */
static void rig_open_slow(struct rig *r, unsigned workers, struct session_limits limits)
{
    limits.drain_ms = 24 * 3600 * 1000;
    rig_open(r, workers, limits);
    atomic_fetch_add(&r->shop.connections, 1000 * 1000 * 1000);
}

static void rig_close_slow(struct rig *r)
{
    atomic_fetch_sub(&r->shop.connections, 1000 * 1000 * 1000);
    rig_close(r);
}

static void begin(struct rig *r)
{
    for (unsigned i = 0; i < r->shop.count; i++)
        assert_true(mailbox_post(r->boxes[i], (struct mail){.kind = MAIL_DRAIN}));
    rig_settle(r);
}

/* The place of a session comes, as if all time until then had passed. */
static void meet(struct session *s)
{
    s->worker->drain_spread_ms = 0;
    wheel_unset(&s->worker->wheel, &s->deadline);
    session_deadline(s);
}

static uint64_t take_after(struct rig *r, struct client *c)
{
    unsigned long long after;
    char text[128];
    client_take(r, c, text, sizeof text);
    assert_int_equal(sscanf(text, "{\"type\":\"reconnect\",\"after_ms\":%llu}", &after), 1);
    return after;
}

/* Seen to fail with sessions that are closed when they are told. */
static void until_its_place_comes_a_session_is_served_as_ever(void **state)
{
    (void)state;
    struct rig r;
    struct client one;
    struct client two;
    rig_open_slow(&r, 2, rig_limits());
    client_open(&r, 0, &one, 0);
    client_open2(&r, 1, &two, 0);
    client_subscribe(&r, &two, "t");
    begin(&r);
    uint64_t after = take_after(&r, &two);
    assert_in_range(after, 1, 18 * 3600 * 1000);
    client_subscribe(&r, &one, "t"); /* and was told nothing */
    assert_true(peer_sendf(&one.peer, "{\"topic\":\"t\",\"data\":1}"));
    client_expect(&r, &one, "1");
    client_expect(&r, &two, "{\"type\":\"message\",\"topic\":\"t\",\"data\":1");
    assert_true(
        peer_sendf(&two.peer, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":2,\"id\":7}"));
    client_expect(&r, &two, "{\"type\":\"message\",\"topic\":\"t\",\"data\":2");
    client_expect(&r, &two, "{\"type\":\"ack_publish\"");
    client_expect(&r, &one, "2");
    client_drop(&r, &one);
    assert_true(r.shop.workers[0].closing); /* without clients it need not wait */
    meet(two.session);
    client_expect_close(&r, &two, 1012);
    client_drop(&r, &two);
    assert_true(r.shop.workers[1].closing);
    rig_close_slow(&r);
}

/* What others published, and it itself, is in the mail. Seen to fail without worker_deliver. */
static void what_was_published_is_delivered_and_answered_before_the_close(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open_slow(&r, 1, rig_limits());
    client_open2(&r, 0, &c, 0);
    client_subscribe(&r, &c, "t");
    begin(&r);
    take_after(&r, &c);
    rig_publish_text(&r, "t", "0");
    feed_text(c.session, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":1,\"id\":7}");
    meet(c.session);
    client_expect(&r, &c, "{\"type\":\"message\",\"topic\":\"t\",\"data\":0");
    client_expect(&r, &c, "{\"type\":\"message\",\"topic\":\"t\",\"data\":1");
    client_expect(&r, &c, "{\"type\":\"ack_publish\"");
    client_expect_close(&r, &c, 1012);
    client_drop(&r, &c);
    rig_close_slow(&r);
}

/* Seen to fail with a session that does not wait, that is read from while it does, and that waits
 * without end. */
static void who_published_in_the_cluster_ends_behind_the_answer_if_that_comes_in_time(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    for (int in_time = 0; in_time < 2; in_time++) {
        rig_open_slow(&r, 1, rig_limits());
        fake_open(&f, &r);
        client_open2(&r, 0, &c, 0);
        begin(&r);
        take_after(&r, &c);
        feed_text(c.session, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":1,\"id\":7}");
        meet(c.session);
        assert_true(peer_sendf(&c.peer, "{\"type\":\"ping\"}"));
        client_expect_nothing(&r, &c);
        struct errand *e = fake_take(&f, ERRAND_PUBLISH, "t");
        meet(c.session);
        assert_int_equal(c.session->state, SESSION_OPEN);
        if (in_time) {
            fake_number(&f, e, 1, 5);
            client_expect(&r, &c, "{\"type\":\"ack_publish\"");
            meet(c.session);
        } else {
            r.shop.workers[0].drain_ms = 0;
            r.shop.limits.drain_ms = 1;
            meet(c.session);
            fake_return(&f, e, ERRAND_UNAVAILABLE);
        }
        client_expect_close(&r, &c, 1012);
        client_drop(&r, &c);
        fake_close(&f);
        rig_close_slow(&r);
    }
}

/* Seen to fail with SHUTDOWN cutting. */
static void what_is_queued_comes_before_the_close(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open_slow(&r, 1, rig_limits());
    client_open2(&r, 0, &c, SMALL_BUFFER);
    client_subscribe(&r, &c, "t");
    block(c.session, '0', LARGE);
    begin(&r);
    rig_publish_text(&r, "t", "1");
    rig_settle(&r);
    meet(c.session);
    assert_int_equal(c.session->state, SESSION_CLOSING);
    client_expect(&r, &c, "0");
    take_after(&r, &c);
    client_expect(&r, &c, "{\"type\":\"message\",\"topic\":\"t\",\"data\":1");
    client_expect_close(&r, &c, 1012);
    assert_int_equal(rig_metric(&r, METRIC_dropped_bytes_total), 0);
    client_drop(&r, &c);
    rig_close_slow(&r);
}

/* Seen to fail with wheel_set in begin(), and with session_rest that asks nothing. */
static void pings_go_on_but_no_deadline_passes_a_place(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct session_limits limits = rig_limits();
    limits.ping_ms = 1000;
    limits.pong_ms = 48 * 3600 * 1000;
    rig_open_slow(&r, 1, limits);
    struct worker *w = &r.shop.workers[0];
    client_open2(&r, 0, &c, 0);
    struct session *s = c.session;
    uint32_t ping_due = s->deadline.due;
    begin(&r);
    uint64_t after = take_after(&r, &c);
    assert_int_equal(s->deadline.due, ping_due);
    s->deadline.since -= 2000 / WHEEL_TICK_MS; /* silent */
    wheel_unset(&w->wheel, &s->deadline);
    session_deadline(s);
    assert_true(s->pinged);
    assert_true(s->deadline.due - wheel_tick(&w->wheel) <= after / WHEEL_TICK_MS + 2);
    assert_int_equal(s->state, SESSION_OPEN);
    client_drop(&r, &c);
    rig_close_slow(&r);
}

/* Seen to fail with a place that is a constant. */
static void everyone_has_a_place_of_its_own_at_either_level(void **state)
{
    (void)state;
    enum { MANY = 200 };
    static struct client c[MANY];
    struct rig r;
    uint64_t early = 0;
    rig_open_slow(&r, 2, rig_limits());
    for (unsigned i = 0; i < MANY; i++)
        (i % 3 ? client_open2 : client_open)(&r, i % 2, &c[i], 0);
    begin(&r);
    for (unsigned i = 0; i < MANY; i++) {
        struct worker *w = c[i].session->worker;
        uint64_t left = drain_within(c[i].session, UINT64_MAX);
        assert_in_range(left, 1, 18 * 3600 * 1000);
        early += left < 9 * 3600 * 1000;
        assert_true(c[i].session->deadline.due - wheel_tick(&w->wheel) >= left / WHEEL_TICK_MS);
        if (i % 3) /* and it is told which; some of it may have passed meanwhile */
            assert_in_range(take_after(&r, &c[i]), left, left + 600 * 1000);
        else
            client_expect_nothing(&r, &c[i]);
    }
    assert_in_range(early, MANY / 4, MANY - MANY / 4);
    assert_int_equal(rig_metric(&r, METRIC_closed_shutdown_total), 0);
    for (unsigned i = 0; i < MANY; i++)
        peer_drop(&c[i].peer, false);
    rig_settle(&r);
    rig_close_slow(&r);
}

/* In real time, but no matter which: the order is by the clock's ticks. Seen to fail with all
 * closed when the first is. */
static void they_are_closed_in_the_order_that_they_were_told(void **state)
{
    (void)state;
    enum { MANY = 40 };
    static struct client c[MANY];
    struct rig r;
    struct session_limits limits = rig_limits();
    uint64_t after[MANY];
    bool open[MANY];
    unsigned left = MANY;
    uint64_t last = 0;
    limits.drain_ms = 3600 * 1000;
    rig_open(&r, 1, limits);
    struct worker *w = &r.shop.workers[0];
    for (unsigned i = 0; i < MANY; i++)
        client_open2(&r, 0, &c[i], 0);
    worker_drain(w);
    assert_int_equal(w->drain_spread_ms, MANY * 10); /* no more than they need */
    while (!worker_drain_step(w))
        ;
    worker_flush(w, SIZE_MAX);
    for (unsigned i = 0; i < MANY; i++) {
        const char *payload;
        size_t len;
        unsigned long long ms = 0;
        open[i] = true;
        assert_int_equal(peer_try(&c[i].peer, &payload, &len), PEER_TEXT);
        assert_int_equal(sscanf(payload, "{\"type\":\"reconnect\",\"after_ms\":%llu}", &ms), 1);
        after[i] = ms;
    }
    while (left > 0) {
        uint64_t newest = last;
        uv_run(&w->loop, UV_RUN_ONCE);
        for (unsigned i = 0; i < MANY; i++) {
            if (!open[i] || c[i].session->state == SESSION_OPEN)
                continue;
            assert_true(after[i] + WHEEL_TICK_MS > last);
            newest = after[i] > newest ? after[i] : newest;
            open[i] = false;
            left--;
        }
        last = newest;
        for (unsigned i = 0; i < MANY; i++)
            assert_true(!open[i] || after[i] + WHEEL_TICK_MS > last);
    }
    for (unsigned i = 0; i < MANY; i++) {
        client_expect_close(&r, &c[i], 1012);
        peer_drop(&c[i].peer, false);
    }
    rig_settle(&r);
    rig_close(&r);
}

/* Seen to fail with slab_each in worker_drain_step. */
static void a_turn_tells_and_closes_some_hundred_and_then_others_have_theirs(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    static struct client c[MANY];
    struct rig r;
    rig_open(&r, 1, rig_limits()); /* no time to spread them over */
    struct worker *w = &r.shop.workers[0];
    for (unsigned i = 0; i < MANY; i++)
        client_connect(&r, 0, &c[i], 0, REFUSAL_NONE);
    worker_drain(w);
    int64_t before = 0;
    unsigned steps = 1;
    for (; !worker_drain_step(w); steps++) {
        int64_t ended = rig_metric(&r, METRIC_closed_shutdown_total);
        assert_in_range(ended - before, 1, 400);
        before = ended;
    }
    assert_true(steps >= 3);
    assert_int_equal(rig_metric(&r, METRIC_closed_shutdown_total), MANY);
    for (unsigned i = 0; i < MANY; i++)
        peer_drop(&c[i].peer, false);
    rig_settle(&r);
    rig_close(&r);
}

/* Seen to fail with the publisher being told STOPPED from the beginning of the drain on, and never.
 */
static void who_publishes_from_outside_may_until_the_last_worker_has_ended(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct route_result result;
    rig_open_slow(&r, 2, rig_limits());
    client_open(&r, 1, &c, 0);
    client_subscribe(&r, &c, "t");
    atomic_store(&r.shop.unready, true);
    assert_int_equal(shop_publish(&r.shop, TEXT("t"), TEXT("1"), &result), OUTSIDE_PUBLISHED);
    client_expect(&r, &c, "1");
    begin(&r);
    assert_true(r.shop.workers[0].closing);
    assert_int_equal(shop_publish(&r.shop, TEXT("t"), TEXT("2"), &result), OUTSIDE_PUBLISHED);
    assert_int_equal(result.subscribers, 1);
    client_expect(&r, &c, "2");
    client_drop(&r, &c);
    assert_true(r.shop.workers[1].closing);
    assert_int_equal(shop_publish(&r.shop, TEXT("t"), TEXT("3"), &result), OUTSIDE_STOPPED);
    rig_close_slow(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(until_its_place_comes_a_session_is_served_as_ever),
        cmocka_unit_test(what_was_published_is_delivered_and_answered_before_the_close),
        cmocka_unit_test(who_published_in_the_cluster_ends_behind_the_answer_if_that_comes_in_time),
        cmocka_unit_test(what_is_queued_comes_before_the_close),
        cmocka_unit_test(pings_go_on_but_no_deadline_passes_a_place),
        cmocka_unit_test(everyone_has_a_place_of_its_own_at_either_level),
        cmocka_unit_test(they_are_closed_in_the_order_that_they_were_told),
        cmocka_unit_test(a_turn_tells_and_closes_some_hundred_and_then_others_have_theirs),
        cmocka_unit_test(who_publishes_from_outside_may_until_the_last_worker_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
