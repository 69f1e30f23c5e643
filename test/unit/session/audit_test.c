#include "session/audit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/random.h"
#include "support/worker_harness.h"

static void one_round(struct worker *w)
{
    while (!worker_audit_slice(w))
        ;
}

/* Enough for each worker to have added its own to every topic's sum. */
static void audit(struct rig *r)
{
    for (unsigned i = 0; i < r->shop.count; i++)
        for (unsigned k = 0; k < r->shop.count; k++)
            one_round(&r->shop.workers[k]);
}

static int64_t mismatches(struct rig *r)
{
    return rig_metric(r, METRIC_registry_mismatches_total);
}

static struct registry_topic *topic_of(struct rig *r, const char *name) NO_THREAD_SAFETY_ANALYSIS
{
    struct registry *registry = &r->shop.route.registry;
    uint64_t hash = registry_hash(registry, text_of(name));
    struct stripe *stripe = registry_stripe(registry, hash);
    lock_take(&stripe->lock);
    struct registry_topic *topic = registry_find(registry, stripe, hash, text_of(name));
    lock_give(&stripe->lock);
    return topic;
}

static void what_comes_and_goes_in_order_is_no_mismatch(void **state)
{
    (void)state;
    enum { CLIENTS = 8, STEPS = 3000 };
    struct rig r;
    struct client c[CLIENTS];
    struct random random = {.state = 1};
    rig_open(&r, 2, rig_limits());
    for (unsigned i = 0; i < CLIENTS; i++)
        client_open(&r, i % 2, &c[i], 0);
    for (int step = 0; step < STEPS; step++) {
        struct client *one = &c[random_below(&random, CLIENTS)];
        char topic[16];
        snprintf(topic, sizeof topic, "t%u", (unsigned)random_below(&random, 20));
        if (random_below(&random, 2))
            (void)client_join(one, topic);
        else
            (void)client_leave(one, topic);
        if (random_below(&random, 8) == 0)
            worker_audit_slice(&r.shop.workers[random_below(&random, 2)]);
        if (random_below(&random, 4) == 0)
            rig_publish_text(&r, topic, "1"); /* mail on its way is nothing to an audit */
    }
    audit(&r);
    assert_int_equal(mismatches(&r), 0);
    rig_turn(&r);
    for (unsigned i = 0; i < CLIENTS; i++)
        client_drop(&r, &c[i]);
    audit(&r);
    assert_int_equal(mismatches(&r), 0);
    rig_close(&r);
}

/* Seen to fail with an audit that does not look at the interest (nothing comes, nothing is told),
 * and with one that does not tell level 1. */
static void a_lost_interest_is_healed_and_who_missed_messages_is_told(void **state)
{
    (void)state;
    struct rig r;
    struct client two;
    struct client one;
    struct client far;
    rig_open(&r, 2, rig_limits());
    client_open2(&r, 0, &two, 0);
    client_open(&r, 0, &one, 0);
    client_open2(&r, 1, &far, 0);
    client_subscribe(&r, &two, "t");
    client_subscribe(&r, &one, "t");
    client_subscribe(&r, &far, "t");
    rig_publish_text(&r, "t", "1");
    client_expect(&r, &two, "{\"type\":\"message\",\"topic\":\"t\",\"data\":1,");
    client_expect(&r, &one, "1");
    client_expect(&r, &far, "{\"type\":\"message\",\"topic\":\"t\",\"data\":1,");
    topic_of(&r, "t")->workers[0] &= ~UINT64_C(1);
    rig_publish_text(&r, "t", "2");
    rig_publish_text(&r, "t", "3");
    client_expect(&r, &far, "{\"type\":\"message\",\"topic\":\"t\",\"data\":2,");
    client_expect(&r, &far, "{\"type\":\"message\",\"topic\":\"t\",\"data\":3,");
    client_expect_nothing(&r, &two);
    client_expect_nothing(&r, &one);
    audit(&r);
    assert_int_equal(mismatches(&r), 1);
    client_expect_just(&r, &two, "{\"type\":\"gap\",\"topic\":\"t\",\"from\":2,\"to\":3}");
    client_expect_close(&r, &one, 1012);
    rig_publish_text(&r, "t", "4");
    client_expect(&r, &two, "{\"type\":\"message\",\"topic\":\"t\",\"data\":4,\"offset\":4}");
    client_expect(&r, &far, "{\"type\":\"message\",\"topic\":\"t\",\"data\":4,\"offset\":4}");
    audit(&r);
    assert_int_equal(mismatches(&r), 1); /* it is right again */
    client_drop(&r, &two);
    client_drop(&r, &one);
    client_drop(&r, &far);
    rig_close(&r);
}

/* Seen to fail without the mailbox_take in correct_interest (a gap is told, though it comes). */
static void what_is_on_its_way_when_an_interest_is_healed_was_not_missed(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, rig_limits());
    client_open2(&r, 0, &c, 0);
    client_subscribe(&r, &c, "t");
    rig_publish_text(&r, "t", "1");
    topic_of(&r, "t")->workers[0] = 0;
    audit(&r);
    assert_int_equal(mismatches(&r), 1);
    client_expect(&r, &c, "{\"type\":\"message\",\"topic\":\"t\",\"data\":1,");
    client_expect_nothing(&r, &c);
    client_drop(&r, &c);
    rig_close(&r);
}

/* Seen to fail with an audit of those interests only that somebody has. */
static void an_interest_that_nobody_has_is_taken_back(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 2, rig_limits());
    client_open(&r, 0, &c, 0);
    client_subscribe(&r, &c, "t");
    topic_of(&r, "t")->workers[0] |= 2;
    audit(&r);
    assert_int_equal(mismatches(&r), 1);
    assert_int_equal(topic_of(&r, "t")->workers[0], 1);
    client_drop(&r, &c);
    rig_close(&r);
}

/* Seen to fail with an audit that does not compare the sum: three times. */
static void a_wrong_number_of_subscribers_is_put_right(void **state)
{
    (void)state;
    static const uint32_t wrong[] = {1, 3, 7};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct rig r;
        struct client a;
        struct client b;
        rig_open(&r, 2, rig_limits());
        client_open(&r, 0, &a, 0);
        client_open(&r, 1, &b, 0);
        client_subscribe(&r, &a, "t");
        client_subscribe(&r, &b, "t");
        topic_of(&r, "t")->subscribers = wrong[i];
        audit(&r);
        assert_int_equal(mismatches(&r), 1);
        assert_int_equal(topic_of(&r, "t")->subscribers, 2);
        client_drop(&r, &a);
        assert_int_equal(topic_of(&r, "t")->subscribers, 1);
        client_drop(&r, &b);
        assert_null(topic_of(&r, "t"));
        audit(&r);
        assert_int_equal(mismatches(&r), 1);
        rig_close(&r);
    }
}

/* Seen to fail without the registry_release, and without the transients in correct_count. */
static void a_topic_that_only_a_wrong_number_kept_is_gone(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 2, rig_limits());
    client_open(&r, 0, &c, 0);
    client_subscribe(&r, &c, "t");
    topic_of(&r, "t")->subscribers = 2;
    client_drop(&r, &c);
    struct registry_topic *topic = topic_of(&r, "t");
    assert_non_null(topic);
    struct stripe *stripe = registry_stripe(&r.shop.route.registry, topic->hash);
    audit(&r);
    assert_int_equal(mismatches(&r), 1);
    assert_null(topic_of(&r, "t"));
    assert_int_equal(stripe->transients, 0);
    rig_close(&r);
}

/* The first worker has counted; then one joins there and one leaves here. Seen to fail (a mismatch
 * is believed) with a registry_join or a registry_leave that does not begin the sum anew. */
static void a_sum_begins_anew_when_somebody_joins_or_leaves(void **state)
{
    (void)state;
    struct rig r;
    struct client a;
    struct client b;
    rig_open(&r, 2, rig_limits());
    client_open(&r, 0, &a, 0);
    client_open(&r, 1, &b, 0);
    client_subscribe(&r, &a, "t");
    client_subscribe(&r, &b, "t");
    one_round(&r.shop.workers[0]);
    assert_int_equal(client_leave(&a, "t"), LEAVE_OK);
    one_round(&r.shop.workers[1]);
    one_round(&r.shop.workers[0]);
    assert_int_equal(client_join(&a, "t"), JOIN_OK);
    one_round(&r.shop.workers[1]);
    assert_int_equal(mismatches(&r), 0);
    client_drop(&r, &a);
    client_drop(&r, &b);
    rig_close(&r);
}

/* Seen to fail without look_at_patterns. */
static void a_lost_interest_by_pattern_is_healed_and_who_has_it_is_closed(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    struct client other;
    rig_open(&r, 2, rig_limits());
    client_open2(&r, 0, &c, 0);
    client_open2(&r, 1, &other, 0);
    client_subscribe_pattern(&r, &c, "a:*");
    client_subscribe_pattern(&r, &other, "a:*");
    struct worker *w = &r.shop.workers[0];
    struct local_topic *local = subscriber_any(&c.session->subscriber);
    local->pattern->workers[0] &= ~UINT64_C(1);
    rig_publish_text(&r, "a:b", "1");
    client_expect(&r, &other, "{\"type\":\"message\",\"topic\":\"a:b\"");
    client_expect_nothing(&r, &c);
    one_round(w);
    assert_int_equal(mismatches(&r), 1);
    client_expect_close(&r, &c, 1012);
    client_drop(&r, &c);
    client_open2(&r, 0, &c, 0);
    client_subscribe_pattern(&r, &c, "a:*");
    rig_publish_text(&r, "a:b", "2");
    client_expect(&r, &c, "{\"type\":\"message\",\"topic\":\"a:b\"");
    audit(&r);
    assert_int_equal(mismatches(&r), 1);
    client_drop(&r, &c);
    client_drop(&r, &other);
    rig_close(&r);
}

/* Seen to fail without catch_up_count. Who takes the past in pieces is in no local topic, and
 * counts all the same. */
static void who_catches_up_is_counted(void **state)
{
    (void)state;
    enum { MESSAGES = 10, BYTES = 60 * 1000 };
    struct rig r;
    struct client c;
    struct rule rule = rig_keeps("t", MESSAGES);
    struct session_limits limits = rig_limits();
    limits.backlog_bytes = 4 * LOG_CHUNK;
    rig_open(&r, 2, limits);
    rig_use_rules(&r, &rule, 1);
    rig_settle(&r);
    for (int i = 0; i < MESSAGES; i++)
        assert_true(rig_publish_large(&r, "t", '1', BYTES).offset > 0);
    client_open2(&r, 0, &c, SMALL_BUFFER);
    assert_true(
        peer_sendf(&c.peer, "{\"type\":\"subscribe\",\"topic\":\"t\",\"replay\":%d}", MESSAGES));
    rig_turn(&r);
    assert_int_equal(c.session->catching, 1);
    audit(&r);
    assert_int_equal(mismatches(&r), 0);
    client_drop(&r, &c);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_and_goes_in_order_is_no_mismatch),
        cmocka_unit_test(a_lost_interest_is_healed_and_who_missed_messages_is_told),
        cmocka_unit_test(what_is_on_its_way_when_an_interest_is_healed_was_not_missed),
        cmocka_unit_test(an_interest_that_nobody_has_is_taken_back),
        cmocka_unit_test(a_wrong_number_of_subscribers_is_put_right),
        cmocka_unit_test(a_topic_that_only_a_wrong_number_kept_is_gone),
        cmocka_unit_test(a_sum_begins_anew_when_somebody_joins_or_leaves),
        cmocka_unit_test(a_lost_interest_by_pattern_is_healed_and_who_has_it_is_closed),
        cmocka_unit_test(who_catches_up_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
