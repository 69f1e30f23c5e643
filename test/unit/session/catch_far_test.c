/* Catching up with a far topic while its past is not to be had for a while: it is waited for, and
 * no gap is told of what is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "hermes/protocol.h"
#include "session/catch_up_state.h"
#include "session/drain.h"
#include "support/worker_harness.h"

#include "support/fake_cluster.h"

#define EPOCH "\"epoch\":\"" FAKE_EPOCH_TEXT "\""

enum { NEWEST = 20, PATIENCE_MS = 60000 };

struct scene {
    struct rig rig;
    struct fake fake;
    struct client client;
};

static void follow(struct scene *s, const char *name)
{
    struct route *route = &s->rig.shop.route;
    struct text text = text_of(name);
    assert_true(route_follow(route, rig_rule(&s->rig, name), registry_hash(&route->registry, text),
        text, FAKE_EPOCH, NEWEST));
}

/* "t:a" and "t:b" are live and keep 1000 messages, none of them here. */
static void open_scene(struct scene *s)
{
    struct rule rule = rig_keeps("t:*", 1000);
    rig_open(&s->rig, 1, rig_limits());
    rig_use_rules(&s->rig, &rule, 1);
    fake_open(&s->fake, &s->rig);
    client_open2(&s->rig, 0, &s->client, 0);
    rig_settle(&s->rig);
    follow(s, "t:a");
    follow(s, "t:b");
}

static void close_scene(struct scene *s)
{
    fake_close(&s->fake);
    rig_close(&s->rig);
}

static void expect(struct scene *s, const char *topic, int first, int last)
{
    for (int n = first; n <= last; n++) {
        char start[96];
        snprintf(
            start, sizeof start, "{\"type\":\"message\",\"topic\":\"%s\",\"data\":%d", topic, n);
        client_expect(&s->rig, &s->client, start);
    }
}

/* Subscribes since 0; the first two messages come at once. */
static void begin(struct scene *s, const char *topic)
{
    char text[192];
    snprintf(text, sizeof text,
        "{\"type\":\"subscribe\",\"topic\":\"%s\",\"since\":{" EPOCH ",\"offset\":0}}", topic);
    feed_text(s->client.session, text);
    struct errand *e = fake_take(&s->fake, ERRAND_FETCH, topic);
    fake_find(&s->fake, e, 1, 2, NEWEST, 1);
    client_expect(&s->rig, &s->client, "{\"type\":\"ack_subscribe\"");
    expect(s, topic, 1, 2);
}

/* The next errand, when its time has come. */
static struct errand *await(struct scene *s, const char *topic, uint64_t from)
{
    struct errand *e = NULL;
    uint64_t end = clock_ms() + PATIENCE_MS;
    while (!(e = fake_try(&s->fake)) && clock_ms() < end)
        rig_turn(&s->rig);
    assert_non_null(e);
    assert_int_equal(e->kind, ERRAND_FETCH);
    assert_true(text_equal(e->name, text_of(topic)));
    assert_int_equal(e->from, from);
    return e;
}

/* Seen to fail (a gap 3 to 20) where whatever is no answer is taken for one. */
static void what_is_not_to_be_had_for_a_moment_is_asked_for_again(void **state)
{
    struct scene s;
    (void)state;
    open_scene(&s);
    struct worker *w = &s.rig.shop.workers[0];
    begin(&s, "t:a");
    for (int i = 0; i < 3; i++) {
        fake_return(&s.fake, await(&s, "t:a", 3), ERRAND_UNAVAILABLE);
        rig_turn(&s.rig);
        assert_null(fake_try(&s.fake)); /* not at once */
        assert_true(uv_is_active((uv_handle_t *)&w->catching_again));
        client_expect_nothing(&s.rig, &s.client);
        assert_int_equal(s.client.session->catching, 1);
    }
    fake_find(&s.fake, await(&s, "t:a", 3), 1, 9, NEWEST, 1);
    expect(&s, "t:a", 3, 9);
    fake_return(&s.fake, await(&s, "t:a", 10), ERRAND_UNAVAILABLE);
    assert_int_equal(fake_relay(&s.fake, "t:a", NEWEST + 1, "21"), RELAY_DONE);
    client_expect_nothing(&s.rig, &s.client); /* it has its place behind the others */
    fake_find(&s.fake, await(&s, "t:a", 10), 1, NEWEST, NEWEST + 1, 1);
    expect(&s, "t:a", 10, NEWEST + 1);
    client_expect_nothing(&s.rig, &s.client);
    assert_int_equal(s.client.session->catching, 0);
    assert_int_equal(s.client.session->subscriber.count, 1);
    client_drop(&s.rig, &s.client);
    close_scene(&s);
}

/* Seen to ask for ever where it is not told from the others. */
static void what_redis_refuses_to_tell_is_a_gap(void **state)
{
    struct scene s;
    (void)state;
    open_scene(&s);
    begin(&s, "t:a");
    struct errand *e = await(&s, "t:a", 3);
    e->refused = true;
    fake_return(&s.fake, e, ERRAND_UNAVAILABLE);
    client_expect_just(
        &s.rig, &s.client, "{\"type\":\"gap\",\"topic\":\"t:a\",\"from\":3,\"to\":%d}", NEWEST);
    client_expect_nothing(&s.rig, &s.client);
    assert_int_equal(s.client.session->catching, 0);
    assert_int_equal(s.client.session->subscriber.count, 1);
    client_drop(&s.rig, &s.client);
    close_scene(&s);
}

static void what_redis_has_no_more_by_then_is_a_gap(void **state)
{
    struct scene s;
    (void)state;
    open_scene(&s);
    begin(&s, "t:a");
    fake_return(&s.fake, await(&s, "t:a", 3), ERRAND_UNAVAILABLE);
    fake_find(&s.fake, await(&s, "t:a", 3), 15, NEWEST, NEWEST, 1);
    client_expect_just(
        &s.rig, &s.client, "{\"type\":\"gap\",\"topic\":\"t:a\",\"from\":3,\"to\":14}");
    expect(&s, "t:a", 15, NEWEST);
    client_drop(&s.rig, &s.client);
    close_scene(&s);
}

/* They may live on another server. */
static void the_others_of_the_session_go_on_meanwhile(void **state)
{
    struct scene s;
    (void)state;
    open_scene(&s);
    begin(&s, "t:a");
    fake_return(&s.fake, await(&s, "t:a", 3), ERRAND_UNAVAILABLE);
    rig_turn(&s.rig);
    struct catch_up *c = s.client.session->catch_ups;
    assert_true(c->again_ms > 0);
    c->again_ms = UINT64_MAX; /* for as long as this takes */
    begin(&s, "t:b");
    fake_find(&s.fake, await(&s, "t:b", 3), 1, NEWEST, NEWEST, 1);
    expect(&s, "t:b", 3, NEWEST);
    c->again_ms = 1;
    fake_find(&s.fake, await(&s, "t:a", 3), 1, NEWEST, NEWEST, 1);
    expect(&s, "t:a", 3, NEWEST);
    client_expect_nothing(&s.rig, &s.client);
    assert_int_equal(s.client.session->subscriber.count, 2);
    client_drop(&s.rig, &s.client);
    close_scene(&s);
}

static void who_waits_may_leave_or_go(void **state)
{
    (void)state;
    for (int leaves = 0; leaves < 2; leaves++) {
        struct scene s;
        open_scene(&s);
        struct worker *w = &s.rig.shop.workers[0];
        begin(&s, "t:a");
        fake_return(&s.fake, await(&s, "t:a", 3), ERRAND_UNAVAILABLE);
        rig_turn(&s.rig);
        assert_true(uv_is_active((uv_handle_t *)&w->catching_again));
        if (leaves)
            assert_int_equal(client_leave(&s.client, "t:a"), LEAVE_OK);
        else
            client_drop(&s.rig, &s.client);
        assert_int_equal(w->catching_count, 0);
        uint64_t end = clock_ms() + PATIENCE_MS;
        while (uv_is_active((uv_handle_t *)&w->catching_again) && clock_ms() < end)
            rig_turn(&s.rig);
        assert_false(uv_is_active((uv_handle_t *)&w->catching_again));
        fake_expect_nothing(&s.fake);
        if (leaves)
            client_drop(&s.rig, &s.client);
        close_scene(&s);
    }
}

static void an_end_does_not_wait_for_it(void **state)
{
    struct scene s;
    (void)state;
    open_scene(&s);
    begin(&s, "t:a");
    fake_return(&s.fake, await(&s, "t:a", 3), ERRAND_UNAVAILABLE);
    rig_settle(&s.rig);
    worker_drain(&s.rig.shop.workers[0]);
    rig_settle(&s.rig);
    assert_true(s.client.session->state != SESSION_OPEN);
    client_expect(&s.rig, &s.client, "{\"type\":\"reconnect\"");
    assert_int_equal(s.rig.shop.workers[0].catching_count, 0);
    client_drop(&s.rig, &s.client);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_to_be_had_for_a_moment_is_asked_for_again),
        cmocka_unit_test(what_redis_refuses_to_tell_is_a_gap),
        cmocka_unit_test(what_redis_has_no_more_by_then_is_a_gap),
        cmocka_unit_test(the_others_of_the_session_go_on_meanwhile),
        cmocka_unit_test(who_waits_may_leave_or_go),
        cmocka_unit_test(an_end_does_not_wait_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
