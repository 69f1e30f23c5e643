/* Many topics that have missed something after a break, and are brought on a few at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/cluster_harness.h"
#include "support/real_redis.h"
#include "support/redis_hand.h"

static struct real_redis redis;
static struct hand *hand;

static int start(void **state)
{
    (void)state;
    real_redis_open(&redis);
    real_redis_start(&redis, NULL);
    hand = hand_open(redis.port);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    hand_close(hand);
    real_redis_close(&redis);
    return 0;
}

enum { TOPICS = 100, AT_ONCE = 4 };

struct crowd {
    struct site *site;
    unsigned count;
    char names[TOPICS][16];
    struct registry_topic *topics[TOPICS];
};

/* Each has been given one message and has missed two; its position is being asked for. */
static void open_crowd(struct crowd *all, unsigned count)
{
    hand_do(hand, "FLUSHALL");
    *all = (struct crowd){.site = site_open(redis.port), .count = count};
    for (unsigned i = 0; i < count; i++) {
        snprintf(all->names[i], sizeof all->names[i], "kept:%u", i);
        all->topics[i] = site_join(all->site, 0, all->names[i]);
        hand_publish(hand, all->names[i], 1, 1000, 1, 1);
        SITE_UNTIL(all->site, all->topics[i]->offset == 1);
    }
    all->site->journals[0].len = 0;
    redis_link_break(all->site->cluster.shards[0].subscriber, "of the test");
    SITE_UNTIL(all->site, site_is(all->site, all->names[0], FOLLOW_AWAY));
    for (unsigned i = 0; i < count; i++)
        hand_publish(hand, all->names[i], 1, 1000, 2, 2);
}

static void close_crowd(struct crowd *all)
{
    for (unsigned i = 0; i < all->count; i++)
        site_leave(all->site, 0, all->topics[i]);
    site_close(all->site);
}

static unsigned in_state(struct crowd *all, enum follow_state state)
{
    unsigned count = 0;
    for (unsigned i = 0; i < all->count; i++)
        count += site_is(all->site, all->names[i], state);
    return count;
}

/* Of which something has been asked for, and has not come. */
static unsigned under_way(struct crowd *all)
{
    unsigned count = 0;
    for (unsigned i = 0; i < all->count; i++) {
        struct followed *f = site_followed(all->site, all->names[i]);
        count += f->state == FOLLOW_FETCHING && list_empty(&f->queue);
    }
    return count;
}

static void expect_all_of(struct crowd *all)
{
    struct buf *journal = &all->site->journals[0];
    SITE_UNTIL(all->site, in_state(all, FOLLOW_LIVE) == all->count);
    for (unsigned i = 0; i < all->count; i++)
        assert_int_equal(all->topics[i]->offset, 3);
    assert_int_equal(journal->len, 4 * all->count);
    for (unsigned i = 0; i < all->count; i++)
        assert_memory_equal(journal->data + (size_t)4 * i, "2 3 ", 4);
    assert_int_equal(all->site->cluster.shards[0].fetches, 0);
    assert_int_equal(metric_get(&all->site->cluster.metrics, METRIC_cluster_missed_total), 0);
}

/* Or Redis holds all that they have missed in memory at once, and so may this broker. Seen to fail
 * where each is asked for as soon as it is known to miss something. */
static void few_topics_are_fetched_at_once_and_all_have_their_turn(void **state)
{
    struct crowd all;
    unsigned most = 0;
    (void)state;
    open_crowd(&all, TOPICS);
    while (in_state(&all, FOLLOW_LIVE) < TOPICS) {
        unsigned now = under_way(&all);
        most = now > most ? now : most;
        site_turn(all.site, UV_RUN_ONCE);
    }
    assert_int_equal(most, AT_ONCE);
    expect_all_of(&all);
    close_crowd(&all);
}

/* Seen to fail where the row is as it was: they are freed or forgotten in it. */
static void topics_that_await_their_turn_begin_again_when_the_link_breaks(void **state)
{
    struct crowd all;
    (void)state;
    for (int which = 0; which < 2; which++) {
        open_crowd(&all, 3 * AT_ONCE);
        struct shard *s = &all.site->cluster.shards[0];
        s->fetches += AT_ONCE; /* as if others had them */
        SITE_UNTIL(all.site, in_state(&all, FOLLOW_FETCHING) == all.count);
        s->fetches -= AT_ONCE;
        redis_link_pause(s->commands, true);
        site_turns(all.site, 2);
        assert_int_equal(under_way(&all), AT_ONCE);
        redis_link_break(which ? s->commands : s->subscriber, "of the test");
        SITE_UNTIL(all.site, in_state(&all, FOLLOW_AWAY) == all.count);
        assert_true(list_empty(&s->missing));
        redis_link_pause(s->commands, false);
        expect_all_of(&all);
        close_crowd(&all);
    }
}

/* Seen to fail where either row goes first. */
static void topics_and_those_who_ask_for_the_past_take_turns(void **state)
{
    enum { EACH = 3 * AT_ONCE };
    struct crowd all;
    struct sent asked[EACH];
    (void)state;
    open_crowd(&all, EACH);
    struct shard *s = &all.site->cluster.shards[0];
    s->fetches += AT_ONCE; /* as if others had them */
    SITE_UNTIL(all.site, in_state(&all, FOLLOW_FETCHING) == EACH);
    for (unsigned i = 0; i < EACH; i++)
        site_send(all.site, &asked[i],
            (struct errand){.kind = ERRAND_FETCH, .from = 1, .most = 10, .bytes = 1000},
            all.names[i]);
    redis_link_pause(s->commands, true);
    site_turns(all.site, 2);
    s->fetches -= AT_ONCE;
    site_turns(all.site, 2);
    assert_int_equal(s->fetches, AT_ONCE);
    assert_int_equal(under_way(&all), AT_ONCE / 2);
    redis_link_pause(s->commands, false);
    for (unsigned i = 0; i < EACH; i++) {
        site_wait(all.site, &asked[i], ERRAND_DONE);
        assert_int_equal(asked[i].errand.count, 3);
        buf_fini(&asked[i].errand.found);
    }
    expect_all_of(&all);
    close_crowd(&all);
}

/* Seen to fail where it goes on as long as Redis answers. */
static void nothing_is_fetched_while_workers_are_behind(void **state)
{
    struct crowd all;
    (void)state;
    open_crowd(&all, 3 * AT_ONCE);
    struct site *site = all.site;
    size_t crowded = site->shop.route.crowded;
    site->shop.route.crowded = 1;
    site->paused = true;
    SITE_UNTIL(site, site->cluster.crowded);
    for (int i = 0; i < 50; i++) {
        hand_do(hand, "PING");
        site_turn(site, UV_RUN_NOWAIT);
    }
    assert_int_equal(under_way(&all), 0);
    assert_in_range(in_state(&all, FOLLOW_LIVE), 1, 2 * AT_ONCE - 1);
    site->shop.route.crowded = crowded;
    site->paused = false;
    expect_all_of(&all);
    close_crowd(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_topics_are_fetched_at_once_and_all_have_their_turn),
        cmocka_unit_test(topics_that_await_their_turn_begin_again_when_the_link_breaks),
        cmocka_unit_test(topics_and_those_who_ask_for_the_past_take_turns),
        cmocka_unit_test(nothing_is_fetched_while_workers_are_behind),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
