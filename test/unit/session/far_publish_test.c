/* Publishing to topics that are numbered elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hermes/protocol.h"
#include "support/worker_harness.h"

#include "support/fake_cluster.h"

static const char failed[] = "{\"type\":\"error\",\"code\":\"unavailable\"";

/* Makes `topic` live with nobody in it, as if somebody had left a moment ago. */
static void make_live(struct fake *f, const char *topic)
{
    struct route *route = &f->rig->shop.route;
    assert_true(route_follow(route, rig_rule(f->rig, topic),
        registry_hash(&route->registry, text_of(topic)), text_of(topic), FAKE_EPOCH, 0));
}

/* Seen to fail when answers are sent as they come. */
static void the_ack_comes_behind_the_own_delivery(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    rig_open(&r, 2, rig_limits());
    fake_open(&f, &r);
    make_live(&f, "t");
    client_open2(&r, 0, &c, 0);
    client_subscribe(&r, &c, "t");
    feed_text(c.session, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":1,\"id\":7}");
    client_expect_nothing(&r, &c);
    struct errand *e = fake_take(&f, ERRAND_PUBLISH, "t");
    assert_true(e->counted);
    fake_number(&f, e, 1, 5);
    client_expect_just(&r, &c, "{\"type\":\"message\",\"topic\":\"t\",\"data\":1,\"offset\":1}");
    client_expect_just(&r, &c,
        "{\"type\":\"ack_publish\",\"topic\":\"t\",\"offset\":1,\"subscribers\":5,\"id\":7}");
    assert_null(c.session->aside);
    client_drop(&r, &c);
    fake_close(&f);
    rig_close(&r);
}

static void a_row_is_one_errand_and_each_has_its_offset(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    struct buf b = {0};
    struct rule rule = rig_keeps("t", 9);
    rig_open(&r, 1, rig_limits());
    rig_use_rules(&r, &rule, 1);
    fake_open(&f, &r);
    client_open2(&r, 0, &c, 0);
    rig_settle(&r);
    add_text(&b, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":1,\"id\":1}");
    add_text(&b, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":2}");
    add_text(&b, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":3,\"id\":3}");
    add_text(&b, "{\"type\":\"publish\",\"topic\":\"u\",\"data\":4}");
    feed(c.session, &b);
    struct errand *e = fake_take(&f, ERRAND_PUBLISH, "t");
    assert_int_equal(e->message->count, 3);
    assert_int_equal(e->limits.messages, 9);
    fake_number(&f, e, 12, 0);
    e = fake_take(&f, ERRAND_PUBLISH, "u");
    assert_false(e->counted);
    fake_number(&f, e, 1, 0);
    client_expect_just(&r, &c,
        "{\"type\":\"ack_publish\",\"topic\":\"t\",\"offset\":10,\"subscribers\":0,\"id\":1}");
    client_expect_just(&r, &c,
        "{\"type\":\"ack_publish\",\"topic\":\"t\",\"offset\":12,\"subscribers\":0,\"id\":3}");
    client_expect_nothing(&r, &c);
    client_drop(&r, &c);
    fake_close(&f);
    rig_close(&r);
}

/* Seen to fail when only those are answered who want an ack. */
static void what_was_not_published_is_told_of_each_message(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client one, two;
    struct buf b = {0};
    rig_open(&r, 1, rig_limits());
    fake_open(&f, &r);
    client_open(&r, 0, &one, 0);
    client_open2(&r, 0, &two, 0);
    add_text(&b, "{\"topic\":\"t\",\"data\":1}");
    add_text(&b, "{\"topic\":\"t\",\"data\":2}");
    feed(one.session, &b);
    add_text(&b, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":1,\"id\":1}");
    add_text(&b, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":2}");
    feed(two.session, &b);
    fake_return(&f, fake_take(&f, ERRAND_PUBLISH, "t"), ERRAND_UNAVAILABLE);
    fake_return(&f, fake_take(&f, ERRAND_PUBLISH, "t"), ERRAND_NO_MEMORY);
    for (int i = 0; i < 2; i++)
        client_expect_just(&r, &one, "{\"type\":\"error\",\"message\":\"%s\"}", HERMES_TEXT_ALONE);
    client_expect(&r, &two, failed);
    client_expect(&r, &two, failed);
    client_expect_nothing(&r, &one);
    client_expect_nothing(&r, &two);
    assert_int_equal(rig_metric(&r, METRIC_errors_sent_total), 4);
    client_drop(&r, &one);
    client_drop(&r, &two);
    fake_close(&f);
    rig_close(&r);
}

static void a_cluster_that_has_ended_answers_unavailable(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    rig_open(&r, 1, rig_limits());
    fake_open(&f, &r);
    client_open2(&r, 0, &c, 0);
    fake_close(&f);
    feed_text(c.session, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":1}");
    client_expect(&r, &c, failed);
    client_drop(&r, &c);
    rig_close(&r);
}

/* Seen to fail (under AddressSanitizer) without session_forget_far. */
static void who_has_gone_is_left_out(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client gone, left;
    rig_open(&r, 1, rig_limits());
    fake_open(&f, &r);
    client_open2(&r, 0, &gone, 0);
    client_open2(&r, 0, &left, 0);
    feed_text(gone.session, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":1,\"id\":1}");
    feed_text(left.session, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":2,\"id\":2}");
    client_drop(&r, &gone);
    fake_number(&f, fake_take(&f, ERRAND_PUBLISH, "t"), 1, 0);
    fake_return(&f, fake_take(&f, ERRAND_PUBLISH, "t"), ERRAND_UNAVAILABLE);
    client_expect(&r, &left, failed);
    client_drop(&r, &left);
    fake_close(&f);
    rig_close(&r);
}

/* Seen to leak (under AddressSanitizer) with a `lost` that does nothing. */
static void what_comes_back_after_the_worker_is_lost(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    rig_open(&r, 1, rig_limits());
    fake_open(&f, &r);
    client_open2(&r, 0, &c, 0);
    feed_text(c.session, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":1,\"id\":1}");
    struct errand *e = fake_take(&f, ERRAND_PUBLISH, "t");
    client_drop(&r, &c);
    worker_drain(&r.shop.workers[0]);
    uv_run(&r.shop.workers[0].loop, UV_RUN_DEFAULT);
    fake_number(&f, e, 1, 0);
    mailbox_close(&f.box);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    mailbox_fini(&f.box);
    tray_fini(&f.tray);
    uv_loop_close(&f.loop);
    rig_close(&r);
}

static void a_publisher_waits_while_the_cluster_is_slow(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    rig_open(&r, 1, rig_limits());
    r.shop.route.crowded = FAKE_CROWDED;
    fake_open(&f, &r);
    client_open2(&r, 0, &c, 0);
    char large[FAKE_CROWDED + 64];
    snprintf(large, sizeof large, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":\"%0*d\"}",
        FAKE_CROWDED, 0);
    feed_text(c.session, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":1}");
    assert_false(c.session->paused);
    feed_text(c.session, large);
    assert_true(c.session->paused);
    fake_number(&f, fake_take(&f, ERRAND_PUBLISH, "t"), 1, 0);
    uint64_t waiters[MAILBOX_WAITERS_MAX / 64];
    assert_true(mailbox_waiters(&f.box, waiters));
    assert_int_equal(waiters[0], 1);
    fake_number(&f, fake_take(&f, ERRAND_PUBLISH, "t"), 2, 0);
    mailbox_post(r.boxes[0], (struct mail){.kind = MAIL_RESUME});
    rig_settle(&r);
    assert_false(c.session->paused);
    client_drop(&r, &c);
    fake_close(&f);
    rig_close(&r);
}

static void an_echo_that_is_not_wanted_is_not_counted(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    rig_open(&r, 1, rig_limits());
    fake_open(&f, &r);
    make_live(&f, "t");
    client_open2(&r, 0, &c, 0);
    client_subscribe(&r, &c, "t");
    feed_text(
        c.session, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":1,\"id\":7,\"echo\":false}");
    struct errand *e = fake_take(&f, ERRAND_PUBLISH, "t");
    assert_int_equal(e->message->except, c.session->client);
    fake_number(&f, e, 1, 5);
    client_expect_just(&r, &c,
        "{\"type\":\"ack_publish\",\"topic\":\"t\",\"offset\":1,\"subscribers\":4,\"id\":7}");
    client_drop(&r, &c);
    fake_close(&f);
    rig_close(&r);
}

static void a_topic_that_is_local_by_its_rule_goes_the_short_way(void **state)
{
    (void)state;
    struct rig r;
    struct fake f;
    struct client c;
    struct rule rule = rig_keeps("t", 0);
    rule.local = true;
    rig_open(&r, 1, rig_limits());
    rig_use_rules(&r, &rule, 1);
    fake_open(&f, &r);
    client_open2(&r, 0, &c, 0);
    rig_settle(&r);
    client_subscribe(&r, &c, "t");
    feed_text(c.session, "{\"type\":\"publish\",\"topic\":\"t\",\"data\":1}");
    client_expect(&r, &c, "{\"type\":\"message\",\"topic\":\"t\",\"data\":1,\"offset\":1}");
    fake_expect_nothing(&f);
    client_drop(&r, &c);
    fake_close(&f);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ack_comes_behind_the_own_delivery),
        cmocka_unit_test(a_row_is_one_errand_and_each_has_its_offset),
        cmocka_unit_test(what_was_not_published_is_told_of_each_message),
        cmocka_unit_test(a_cluster_that_has_ended_answers_unavailable),
        cmocka_unit_test(who_has_gone_is_left_out),
        cmocka_unit_test(what_comes_back_after_the_worker_is_lost),
        cmocka_unit_test(a_publisher_waits_while_the_cluster_is_slow),
        cmocka_unit_test(an_echo_that_is_not_wanted_is_not_counted),
        cmocka_unit_test(a_topic_that_is_local_by_its_rule_goes_the_short_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
