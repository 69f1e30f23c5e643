#include "session/facts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/worker_harness.h"

static struct facts *facts_of(struct rig *r)
{
    return &r->shop.workers[0].facts;
}

/* The n-th from the end: 0 is the newest. */
static const struct fact *last(const struct fact_row *row, uint64_t n)
{
    assert_true(row->count > n);
    return facts_at(row, row->count - 1 - n);
}

static void expect_fact(const struct fact *fact, enum fact_kind kind, const struct client *c,
    uint64_t offset, uint32_t count)
{
    assert_int_equal(fact->kind, kind);
    if (c)
        assert_true(fact->client == c->session->client);
    assert_int_equal(fact->offset, offset);
    assert_int_equal(fact->count, count);
}

/* Seen to fail without `delivered` in deliver_to_topic, and with what a level 1 subscribe has of
 * the past taken for some of it. */
static void a_subscription_is_noted_with_how_far_its_topic_had_got(void **state)
{
    (void)state;
    struct rig r;
    struct client a;
    struct client b;
    rig_open(&r, 1, rig_limits());
    const struct fact_row *row = &facts_of(&r)->subscriptions;
    client_open(&r, 0, &a, 0);
    client_open2(&r, 0, &b, 0);
    client_subscribe(&r, &a, "t");
    expect_fact(last(row, 0), FACT_SUBSCRIBED, &a, 1, 0);
    rig_publish_text(&r, "t", "1");
    rig_publish_text(&r, "t", "2");
    rig_settle(&r);
    client_subscribe_with(&r, &b, "topic", "t", ",\"policy\":\"latest\"");
    expect_fact(last(row, 0), FACT_SUBSCRIBED, &b, 3, 0);
    assert_int_equal(last(row, 0)->why, POLICY_LATEST);
    assert_int_equal(client_leave(&b, "t"), LEAVE_OK);
    expect_fact(last(row, 0), FACT_LEFT, &b, 2, 0);
    rig_publish_text(&r, "t", "3"); /* it is in the mailbox when the leave is asked for */
    assert_int_equal(client_leave(&a, "t"), LEAVE_OK);
    expect_fact(last(row, 0), FACT_LEFT, &a, 3, 0);
    assert_int_equal(row->count, 4);
    rig_settle(&r);
    client_drop(&r, &a);
    client_drop(&r, &b);
    assert_int_equal(row->count, 4); /* who has no subscription is not worth one */
    rig_close(&r);
}

/* Seen to fail without `delivered` in join_here. */
static void what_is_replayed_is_noted_with_the_subscription(void **state)
{
    (void)state;
    struct rig r;
    struct client a;
    struct rule rule = rig_keeps("t", 10);
    rig_open(&r, 1, rig_limits());
    rig_use_rules(&r, &rule, 1);
    rig_settle(&r);
    for (int i = 0; i < 5; i++)
        rig_publish_text(&r, "t", "1");
    client_open2(&r, 0, &a, 0);
    client_subscribe_with(&r, &a, "topic", "t", ",\"replay\":2");
    expect_fact(last(&facts_of(&r)->subscriptions, 0), FACT_SUBSCRIBED, &a, 4, 2);
    assert_int_equal(client_leave(&a, "t"), LEAVE_OK);
    expect_fact(last(&facts_of(&r)->subscriptions, 0), FACT_LEFT, &a, 5, 0);
    client_drop(&r, &a);
    rig_close(&r);
}

static void a_close_is_noted_for_some_topics_and_for_the_rest_at_once(void **state)
{
    (void)state;
    struct rig r;
    struct client few;
    struct client many;
    char name[16];
    rig_open(&r, 1, rig_limits());
    const struct fact_row *row = &facts_of(&r)->subscriptions;
    client_open(&r, 0, &few, 0);
    client_open(&r, 0, &many, 0);
    client_subscribe(&r, &few, "t");
    for (int i = 0; i <= FACTS_CLOSED_MOST; i++) {
        snprintf(name, sizeof name, "t%d", i);
        client_subscribe(&r, &many, name);
    }
    uint64_t before = row->count;
    session_close(few.session, CLOSE_RATE);
    assert_int_equal(row->count - before, 1);
    expect_fact(last(row, 0), FACT_CLOSED, &few, 0, 0);
    assert_int_equal(last(row, 0)->why, CLOSE_RATE);
    before = row->count;
    session_close(many.session, CLOSE_RATE);
    assert_int_equal(row->count - before, FACTS_CLOSED_MOST + 1);
    expect_fact(last(row, 0), FACT_CLOSED_ALL, &many, 0, 0);
    expect_fact(last(row, 1), FACT_CLOSED, &many, 0, 0);
    client_drop(&r, &few);
    client_drop(&r, &many);
    rig_close(&r);
}

/* Seen to fail with the bytes of a queue that is still sent. */
static void what_a_close_throws_away_is_noted(void **state)
{
    (void)state;
    struct rig r;
    struct client cut;
    struct client sent;
    rig_open(&r, 1, rig_limits());
    const struct fact_row *row = &facts_of(&r)->subscriptions;
    client_open(&r, 0, &cut, SMALL_BUFFER);
    client_open(&r, 0, &sent, 0);
    client_subscribe(&r, &cut, "t");
    client_subscribe(&r, &sent, "t");
    block(cut.session, '0', 100000);
    rig_publish_text(&r, "t", "1");
    mailbox_take(&r.shop.workers[0].box, &r.shop.workers[0].tray);
    worker_deliver(&r.shop.workers[0]);
    session_close(sent.session, CLOSE_RATE);
    expect_fact(last(row, 0), FACT_CLOSED, &sent, 1, 0);
    session_close(cut.session, CLOSE_TOO_SLOW);
    assert_int_equal(last(row, 0)->offset, 1);
    assert_true(last(row, 0)->count > 50000);
    client_drop(&r, &sent);
    client_drop(&r, &cut);
    rig_close(&r);
}

static void what_is_refused_is_noted(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct rule rule = rule_default;
    rule.match = TEXT("secret:>");
    rule.subscribe = ACCESS_NOBODY;
    struct session_limits limits = rig_limits();
    limits.subscriptions = 1;
    rig_open(&r, 1, limits);
    rig_use_rules(&r, &rule, 1);
    rig_settle(&r);
    const struct fact_row *row = &facts_of(&r)->losses;
    client_open2(&r, 0, &c, 0);
    assert_true(peer_sendf(&c.peer, "{\"type\":\"subscribe\",\"topic\":\"secret:x\"}"));
    client_expect(&r, &c, "{\"type\":\"error\"");
    expect_fact(last(row, 0), FACT_REFUSED, &c, 0, 0);
    assert_int_equal(last(row, 0)->why, ERROR_FORBIDDEN);
    client_subscribe(&r, &c, "t");
    assert_true(peer_sendf(&c.peer, "{\"type\":\"subscribe\",\"pattern\":\"a:*\"}"));
    client_expect(&r, &c, "{\"type\":\"error\"");
    assert_int_equal(last(row, 0)->why, ERROR_TOO_MANY_SUBSCRIPTIONS);
    assert_true(last(row, 0)->is_pattern);
    assert_int_equal(row->count, 2);
    client_drop(&r, &c);
    rig_close(&r);
}

static struct fact loss(uint64_t client, uint64_t offset, uint32_t count)
{
    return (struct fact){
        .client = client, .hash = 1, .offset = offset, .count = count, .kind = FACT_DROPPED};
}

static void losses_that_follow_each_other_are_one_and_forget_no_subscription(void **state)
{
    (void)state;
    struct facts f;
    assert_true(facts_init(&f));
    facts_add(&f, (struct fact){.client = 9, .kind = FACT_SUBSCRIBED});
    facts_add(&f, loss(1, 1, 3));
    facts_add(&f, loss(1, 4, 1));
    assert_int_equal(f.losses.count, 1);
    expect_fact(last(&f.losses, 0), FACT_DROPPED, NULL, 1, 4);
    facts_add(&f, loss(2, 5, 1)); /* another's */
    facts_add(&f, loss(2, 7, 1)); /* one in between was not lost */
    assert_int_equal(f.losses.count, 3);
    facts_add(&f, loss(2, 8, UINT32_MAX));
    facts_add(&f, loss(2, 9, 1)); /* would be more than can be counted */
    assert_int_equal(f.losses.count, 5);
    for (uint64_t i = 0; i < 2 * FACTS_KEPT; i++)
        facts_add(&f, loss(i, 1, 1));
    assert_int_equal(facts_first(&f.losses), 5 + FACTS_KEPT);
    assert_int_equal(facts_at(&f.losses, facts_first(&f.losses))->client, FACTS_KEPT);
    assert_int_equal(facts_first(&f.subscriptions), 0);
    assert_int_equal(facts_at(&f.subscriptions, 0)->client, 9);
    facts_fini(&f);
}

/* Who is delivered to many times is no reason to forget who subscribed when. */
static void nothing_is_noted_for_deliveries(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_open(&r, 0, &c, 0);
    client_subscribe(&r, &c, "t");
    for (int i = 0; i < 100; i++)
        rig_publish_text(&r, "t", "1");
    rig_settle(&r);
    assert_int_equal(facts_of(&r)->subscriptions.count, 1);
    assert_int_equal(facts_of(&r)->losses.count, 0);
    client_drop(&r, &c);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_subscription_is_noted_with_how_far_its_topic_had_got),
        cmocka_unit_test(what_is_replayed_is_noted_with_the_subscription),
        cmocka_unit_test(a_close_is_noted_for_some_topics_and_for_the_rest_at_once),
        cmocka_unit_test(what_a_close_throws_away_is_noted),
        cmocka_unit_test(what_is_refused_is_noted),
        cmocka_unit_test(losses_that_follow_each_other_are_one_and_forget_no_subscription),
        cmocka_unit_test(nothing_is_noted_for_deliveries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
