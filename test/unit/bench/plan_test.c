#include "hermes-bench/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What every plan promises. */
static void assert_whole(const struct plan *plan)
{
    uint32_t *subscribers = calloc(plan->topic_count, sizeof *subscribers);
    size_t streams = 0;
    for (size_t p = 0; p < plan->publisher_count; p++) {
        const struct plan_publisher *publisher = &plan->publishers[p];
        assert_int_equal(publisher->first_stream, streams);
        assert_true(publisher->streams > 0);
        for (uint32_t i = 0; i < publisher->streams; i++)
            assert_int_equal(plan->streams[streams + i].publisher, p);
        streams += publisher->streams;
    }
    assert_int_equal(streams, plan->stream_count);
    for (size_t s = 0; s < plan->subscriber_count; s++) {
        const uint32_t *topics = plan->subscriptions + plan->subscribers[s].first;
        assert_true(plan->subscribers[s].count > 0);
        for (uint32_t i = 0; i < plan->subscribers[s].count; i++) {
            assert_true(topics[i] < plan->topic_count);
            assert_true(i == 0 || topics[i] > topics[i - 1]);
            subscribers[topics[i]]++;
        }
    }
    for (size_t t = 0; t < plan->topic_count; t++) {
        const struct plan_topic *topic = &plan->topics[t];
        assert_int_equal(topic->subscribers, subscribers[t]);
        assert_true(topic->streams > 0);
        assert_true(topic->subscribers > 0);
        for (uint32_t i = 0; i < topic->streams; i++) {
            assert_int_equal(plan->streams[topic->first_stream + i].topic, t);
            assert_int_equal(plan->streams[topic->first_stream + i].publisher,
                plan->streams[topic->first_stream].publisher + i);
        }
    }
    free(subscribers);
}

static void in_a_fanout_all_publish_and_subscribe_the_one_topic(void **state)
{
    struct plan plan;
    (void)state;
    plan_init(&plan);
    plan_add_fanout(&plan, 10, 3);
    assert_whole(&plan);
    assert_int_equal(plan.topic_count, 1);
    assert_int_equal(plan.topics[0].streams, 3);
    assert_int_equal(plan.topics[0].subscribers, 10);
    assert_int_equal(plan_deliveries(&plan), 30);
    plan_fini(&plan);
}

static void each_pair_has_a_topic_of_its_own(void **state)
{
    struct plan plan;
    (void)state;
    plan_init(&plan);
    plan_add_pairs(&plan, 7);
    assert_whole(&plan);
    assert_int_equal(plan.topic_count, 7);
    assert_int_equal(plan_deliveries(&plan), 7);
    plan_fini(&plan);
}

static void topics_are_dealt_evenly_and_each_has_one_publisher(void **state)
{
    static const uint32_t shapes[][4] = {
        /* topics, subscribers, each, publishers */
        {10, 10, 1, 1},
        {10, 7, 10, 3},
        {10, 100, 7, 10},
        {1000, 1000, 10, 7},
        {1, 5, 1, 1},
        {500, 50, 10, 4},
    };
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const uint32_t *shape = shapes[i];
        struct plan plan;
        plan_init(&plan);
        plan_add_topics(&plan, shape[0], shape[1], shape[2], shape[3], i);
        assert_whole(&plan);
        assert_int_equal(plan.topic_count, shape[0]);
        assert_int_equal(plan.publisher_count, shape[3]);
        assert_int_equal(plan.subscription_count, (size_t)shape[1] * shape[2]);
        size_t mean = plan.subscription_count / shape[0];
        for (size_t t = 0; t < plan.topic_count; t++) {
            assert_int_equal(plan.topics[t].streams, 1);
            assert_in_range(plan.topics[t].subscribers, mean - mean / 2, mean + mean / 2 + 2);
        }
        plan_fini(&plan);
    }
}

static void a_seed_makes_the_same_deal_and_another_a_different_one(void **state)
{
    struct plan plans[3];
    (void)state;
    for (int i = 0; i < 3; i++) {
        plan_init(&plans[i]);
        plan_add_topics(&plans[i], 100, 50, 5, 1, i == 2 ? 9 : 8);
    }
    size_t size = plans[0].subscription_count * sizeof *plans[0].subscriptions;
    assert_memory_equal(plans[0].subscriptions, plans[1].subscriptions, size);
    assert_memory_not_equal(plans[0].subscriptions, plans[2].subscriptions, size);
    for (int i = 0; i < 3; i++)
        plan_fini(&plans[i]);
}

static void several_kinds_share_one_plan(void **state)
{
    struct plan plan;
    (void)state;
    plan_init(&plan);
    plan_add_fanout(&plan, 10, 2);
    plan_add_topics(&plan, 20, 10, 5, 3, 1);
    plan_add_pairs(&plan, 4);
    plan_add_rovers(&plan, 2);
    assert_whole(&plan);
    assert_int_equal(plan.topic_count, 25);
    assert_int_equal(plan.topics[0].subscribers, 12);
    assert_true(plan.subscribers[plan.subscriber_count - 1].roves);
    assert_false(plan.subscribers[0].roves);
    plan_fini(&plan);
}

static void the_share_that_stalls_is_spread_evenly(void **state)
{
    struct plan plan;
    size_t count = 0;
    (void)state;
    plan_init(&plan);
    plan_add_fanout(&plan, 200, 1);
    plan_stall(&plan, 0.1);
    for (size_t s = 0; s < 200; s++) {
        count += plan.subscribers[s].stalls;
        if (s % 10 == 9)
            assert_int_equal(count, (s + 1) / 10);
    }
    plan_fini(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_a_fanout_all_publish_and_subscribe_the_one_topic),
        cmocka_unit_test(each_pair_has_a_topic_of_its_own),
        cmocka_unit_test(topics_are_dealt_evenly_and_each_has_one_publisher),
        cmocka_unit_test(a_seed_makes_the_same_deal_and_another_a_different_one),
        cmocka_unit_test(several_kinds_share_one_plan),
        cmocka_unit_test(the_share_that_stalls_is_spread_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
