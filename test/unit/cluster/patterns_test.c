/* What patterns hear of topics that live in Redis, and by which channels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "cluster/follow.h"
#include "support/cluster_harness.h"
#include "support/real_redis.h"
#include "support/redis_hand.h"

/* As in patterns.c. */
enum { CHANNELS_MOST = 4096, IDLE_TICKS = 100 };

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

static struct site *open_site(void)
{
    hand_do(hand, "FLUSHALL");
    return site_open(redis.port);
}

static void ask(struct site *s, struct sent *w, const char *pattern, bool watches)
{
    site_send(s, w, (struct errand){.kind = ERRAND_PATTERN, .watches = watches}, pattern);
}

static int64_t listeners(const char *channel)
{
    hand_word(hand, "PUBSUB");
    hand_word(hand, "NUMSUB");
    hand_word(hand, channel);
    return hand_go(hand)->items[1].integer;
}

static void until_listeners(struct site *s, const char *channel, int64_t count)
{
    uint64_t end = clock_ms() + SITE_PATIENCE_MS;
    while (listeners(channel) != count && clock_ms() < end)
        site_turns(s, 1);
    assert_int_equal(listeners(channel), count);
}

/* --- channels --------------------------------------------------------------------------------- */

static void the_first_segment_says_which_channel(void **state)
{
    static const struct {
        const char *pattern;
        const char *channel;
    } rows[] = {{"a:*", "hermes:p:a"}, {"b:c:>", "hermes:p:b"}, {"*:x", "hermes:p:"},
        {">", "hermes:p:"}, {"a:>", "hermes:p:a"}};
    struct site *s = open_site();
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sent w;
        uint64_t asked = clock_ms();
        ask(s, &w, rows[i].pattern, false);
        site_wait(s, &w, ERRAND_DONE);
        assert_true(w.errand.offset >= asked && w.errand.offset <= clock_ms());
        assert_int_equal(listeners(rows[i].channel), 1);
    }
    assert_int_equal(s->cluster.shards[0].pattern_count, 3);
    assert_int_equal(listeners("hermes:wp:a"), 0);
    struct sent w;
    ask(s, &w, "a:*", true);
    site_wait(s, &w, ERRAND_DONE);
    assert_int_equal(listeners("hermes:wp:a"), 1);
    assert_int_equal(listeners("hermes:wp:"), 0);
    site_close(s);
}

static void one_channel_is_asked_for_once(void **state)
{
    enum { MANY = 20 };
    struct sent sent[MANY];
    struct site *s = open_site();
    (void)state;
    SITE_UNTIL(s, listeners("hermes:c:all") == 1);
    hand_do(hand, "CONFIG RESETSTAT");
    for (int i = 0; i < MANY; i++)
        ask(s, &sent[i], i % 2 ? "a:*" : "a:b", false);
    for (int i = 0; i < MANY; i++)
        site_wait(s, &sent[i], ERRAND_DONE);
    assert_int_equal(hand_calls(hand, "subscribe"), 1);
    site_close(s);
}

static void a_pattern_is_given_each_message_once_and_only_what_it_matches(void **state)
{
    struct site *s = open_site();
    (void)state;
    struct pattern *all = site_join_pattern(s, 0, ">"), *some = site_join_pattern(s, 1, "a:*");
    struct registry_topic *topic = site_join(s, 2, "a:b");
    for (unsigned i = 1; i <= 20; i++) {
        hand_publish(hand, "a:b", 7, 0, i, 1);
        hand_publish(hand, "b:c", 7, 0, 100 + i, 1);
    }
    SITE_UNTIL(s, s->journals[0].len == 20 * 4 + 9 * 2 + 11 * 3);
    site_heard(s, 1, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 ");
    site_heard(s, 2, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 ");
    site_leave(s, 2, topic);
    site_leave_pattern(s, 0, all);
    site_leave_pattern(s, 1, some);
    site_close(s);
}

static void past_so_many_channels_patterns_listen_to_everything(void **state)
{
    static char names[CHANNELS_MOST][20];
    static struct sent sent[CHANNELS_MOST];
    struct site *s = open_site();
    struct sent w[2];
    (void)state;
    for (int i = 0; i < CHANNELS_MOST; i++) {
        snprintf(names[i], sizeof names[i], "s%d:*", i);
        ask(s, &sent[i], names[i], false);
    }
    for (int i = 0; i < CHANNELS_MOST; i++)
        site_wait(s, &sent[i], ERRAND_DONE);
    assert_int_equal(listeners("hermes:p:"), 0);
    ask(s, &w[0], "more:*", false);
    ask(s, &w[1], "more:still:*", false);
    for (int i = 0; i < 2; i++)
        site_wait(s, &w[i], ERRAND_DONE);
    assert_int_equal(listeners("hermes:p:more"), 0);
    assert_int_equal(listeners("hermes:p:"), 1);
    assert_int_equal(s->cluster.shards[0].pattern_count, CHANNELS_MOST + 1);
    struct pattern *p = site_match(s, 0, "more:*");
    hand_publish(hand, "more:x", 7, 0, 1, 1);
    SITE_UNTIL(s, s->journals[0].len > 0);
    site_heard(s, 0, "1 ");
    site_leave_pattern(s, 0, p);
    site_close(s);
}

/* --- breaks ----------------------------------------------------------------------------------- */

static void tick_by_hand(struct site *s, unsigned ticks)
{
    uv_timer_stop(&s->cluster.tick);
    while (ticks-- > 0)
        follow_tick(&s->cluster);
    site_turns(s, 1);
}

static void after_a_break_patterns_are_told_once(void **state)
{
    struct site *s = open_site();
    (void)state;
    struct pattern *p = site_join_pattern(s, 0, "a:*");
    struct sent w;
    ask(s, &w, "a:*", true);
    site_wait(s, &w, ERRAND_DONE);
    tick_by_hand(s, 5);
    assert_int_equal(s->missed[0], 0);
    for (unsigned i = 1; i <= 3; i++) {
        redis_link_break(s->cluster.shards[0].subscriber, "of the test");
        SITE_UNTIL(s, !site_is_up(s));
        tick_by_hand(s, 3);
        assert_int_equal(s->missed[0], i - 1); /* not before it listens again */
        SITE_UNTIL(s, s->cluster.shards[0].missed);
        tick_by_hand(s, 5);
        for (unsigned k = 0; k < SITE_WORKERS; k++)
            assert_int_equal(s->missed[k], i);
        until_listeners(s, "hermes:wp:a", 1);
        tick_by_hand(s, 5);
        assert_int_equal(s->missed[0], i);
        hand_publish(hand, "a:b", 7, 0, i, 1);
        SITE_UNTIL(s, s->journals[0].len > 0);
        s->journals[0].len = 0;
    }
    site_leave_pattern(s, 0, p);
    site_close(s);
}

static void who_waits_for_a_channel_is_told_when_the_link_breaks(void **state)
{
    struct site *s = open_site();
    struct shard *shard = &s->cluster.shards[0];
    struct sent first, second;
    (void)state;
    redis_link_pause(shard->subscriber, true);
    ask(s, &first, "a:*", false);
    ask(s, &second, ">", true);
    site_turns(s, 3);
    assert_int_equal(first.back + second.back, 0);
    redis_link_break(shard->subscriber, "of the test");
    redis_link_pause(shard->subscriber, false);
    site_wait(s, &first, ERRAND_UNAVAILABLE);
    site_wait(s, &second, ERRAND_UNAVAILABLE);
    ask(s, &first, "b:*", false); /* it is away */
    site_turns(s, 1);
    site_wait(s, &first, ERRAND_UNAVAILABLE);
    SITE_UNTIL(s, site_is_up(s));
    ask(s, &first, "a:*", false);
    site_wait(s, &first, ERRAND_DONE);
    ask(s, &second, ">", true);
    site_wait(s, &second, ERRAND_DONE);
    tick_by_hand(s, 3);
    assert_int_equal(s->missed[0], 0); /* nobody relied on them */
    /* Who relies on a channel already may join while it is away, and is told behind. */
    redis_link_break(shard->subscriber, "of the test");
    SITE_UNTIL(s, !site_is_up(s));
    ask(s, &first, "a:c:*", false);
    site_turns(s, 1);
    site_wait(s, &first, ERRAND_DONE);
    SITE_UNTIL(s, shard->missed);
    site_close(s);
}

/* --- letting go ------------------------------------------------------------------------------- */

static void channels_go_some_seconds_after_the_last_pattern(void **state)
{
    struct site *s = open_site();
    (void)state;
    struct pattern *p = site_join_pattern(s, 0, "a:*");
    tick_by_hand(s, 3 * IDLE_TICKS);
    assert_int_equal(s->cluster.shards[0].pattern_count, 1);
    site_leave_pattern(s, 0, p);
    tick_by_hand(s, IDLE_TICKS - 1);
    assert_int_equal(s->cluster.shards[0].pattern_count, 1);
    tick_by_hand(s, 1);
    assert_int_equal(s->cluster.shards[0].pattern_count, 0);
    until_listeners(s, "hermes:p:a", 0);
    p = site_join_pattern(s, 0, "a:*");
    hand_publish(hand, "a:b", 7, 0, 1, 1);
    SITE_UNTIL(s, s->journals[0].len > 0);
    site_heard(s, 0, "1 ");
    site_leave_pattern(s, 0, p);
    site_close(s);
}

static void the_channel_of_a_gone_pattern_goes_while_others_are_in_use(void **state)
{
    struct site *s = open_site();
    struct patterns *patterns = &s->shop.route.patterns;
    struct sent w;
    (void)state;
    struct pattern *a = site_join_pattern(s, 0, "a:*"), *b = site_join_pattern(s, 1, "b:*");
    struct pattern *all = site_join_pattern(s, 2, ">");
    ask(s, &w, "a:*", true);
    site_wait(s, &w, ERRAND_DONE);
    patterns_watch(patterns, 1);
    tick_by_hand(s, 3 * IDLE_TICKS);
    assert_int_equal(s->cluster.shards[0].pattern_count, 4);
    site_leave_pattern(s, 1, b);
    tick_by_hand(s, IDLE_TICKS - 1);
    assert_int_equal(s->cluster.shards[0].pattern_count, 4);
    tick_by_hand(s, 1);
    until_listeners(s, "hermes:p:b", 0);
    assert_int_equal(s->cluster.shards[0].pattern_count, 3);
    site_leave_pattern(s, 2, all);
    tick_by_hand(s, IDLE_TICKS);
    until_listeners(s, "hermes:p:", 0);
    assert_int_equal(s->cluster.shards[0].pattern_count, 2);
    assert_int_equal(listeners("hermes:wp:a"), 1);
    patterns_watch(patterns, -1);
    tick_by_hand(s, IDLE_TICKS);
    until_listeners(s, "hermes:wp:a", 0);
    assert_int_equal(s->cluster.shards[0].pattern_count, 1);
    hand_publish(hand, "a:b", 7, 0, 1, 1);
    SITE_UNTIL(s, s->journals[0].len > 0);
    site_heard(s, 0, "1 ");
    assert_int_equal(s->missed[0], 0);
    site_leave_pattern(s, 0, a);
    site_close(s);
}

/* Broken by an answer before Redis has confirmed the new channel: nothing is heard. */
static void who_comes_when_a_channel_is_let_go_of_misses_nothing(void **state)
{
    struct site *s = open_site();
    (void)state;
    struct pattern *other = site_join_pattern(s, 1, "b:*");
    for (unsigned i = 1; i <= 8; i++) {
        struct sent w;
        struct pattern *p = site_join_pattern(s, 0, "a:*");
        tick_by_hand(s, 1);
        site_leave_pattern(s, 0, p);
        tick_by_hand(s, IDLE_TICKS - 1);
        if (i % 2) /* it is on its way to the cluster thread, or comes behind */
            ask(s, &w, "a:*", false);
        follow_tick(&s->cluster);
        assert_int_equal(s->cluster.shards[0].pattern_count, 1);
        if (i % 2 == 0)
            ask(s, &w, "a:*", false);
        site_wait(s, &w, ERRAND_DONE);
        assert_int_equal(listeners("hermes:p:a"), 1);
        tick_by_hand(s, IDLE_TICKS - 1); /* it takes its time */
        p = site_match(s, 0, "a:*");
        tick_by_hand(s, IDLE_TICKS);
        hand_publish(hand, "a:b", 7, 0, i, 1);
        SITE_UNTIL(s, s->journals[0].len > 0);
        s->journals[0].len = 0;
        site_leave_pattern(s, 0, p);
    }
    site_leave_pattern(s, 1, other);
    site_close(s);
}

/* Broken by letting go of it: who asks next is answered by the confirmation of the one before, and
 * Redis unsubscribes behind that. */
static void a_channel_that_is_being_subscribed_is_not_let_go_of(void **state)
{
    struct site *s = open_site();
    struct shard *shard = &s->cluster.shards[0];
    struct sent w;
    (void)state;
    ask(s, &w, "a:*", false);
    site_wait(s, &w, ERRAND_DONE);
    redis_link_break(shard->subscriber, "of the test");
    SITE_UNTIL(s, !list_empty(&shard->patterns_wanting));
    redis_link_pause(shard->subscriber, true);
    SITE_UNTIL(s, list_empty(&shard->patterns_wanting) && listeners("hermes:p:a") == 1);
    tick_by_hand(s, 2 * IDLE_TICKS);
    assert_false(shard->missed); /* it has not been confirmed */
    assert_int_equal(shard->pattern_count, 1);
    redis_link_pause(shard->subscriber, false);
    SITE_UNTIL(s, site_is_up(s));
    ask(s, &w, "a:*", false);
    site_wait(s, &w, ERRAND_DONE);
    struct pattern *p = site_match(s, 0, "a:*");
    SITE_UNTIL(s, shard->missed);
    assert_int_equal(listeners("hermes:p:a"), 1);
    hand_publish(hand, "a:b", 7, 0, 1, 1);
    SITE_UNTIL(s, s->journals[0].len > 0);
    site_heard(s, 0, "1 ");
    site_leave_pattern(s, 0, p);
    site_close(s);
}

/* Broken by letting go of what stands in for others as soon as no pattern begins with a wildcard:
 * the second message is not heard. */
static void places_that_channels_leave_are_used_again(void **state)
{
    static char names[CHANNELS_MOST][20];
    static struct sent sent[CHANNELS_MOST];
    struct site *s = open_site();
    struct shard *shard = &s->cluster.shards[0];
    struct sent w;
    (void)state;
    for (int i = 0; i < CHANNELS_MOST; i++) {
        snprintf(names[i], sizeof names[i], "s%d:*", i);
        ask(s, &sent[i], names[i], false);
    }
    for (int i = 0; i < CHANNELS_MOST; i++)
        site_wait(s, &sent[i], ERRAND_DONE);
    struct pattern *first = site_match(s, 1, "s0:*");
    struct pattern *p = site_join_pattern(s, 0, "more:*");
    assert_int_equal(listeners("hermes:p:"), 1);
    assert_int_equal(listeners("hermes:p:more"), 0);
    unsigned ticks = 0, n = 0;
    for (; listeners("hermes:p:") == 1 && ticks < 10 * IDLE_TICKS; ticks++) {
        tick_by_hand(s, 1);
        if (ticks % 10 > 0)
            continue;
        hand_publish(hand, "more:x", 7, 0, ++n, 1);
        SITE_UNTIL(s, s->journals[0].len > 0);
        s->journals[0].len = 0;
    }
    assert_int_equal(listeners("hermes:p:"), 0);
    assert_int_equal(listeners("hermes:p:more"), 1);
    assert_int_equal(listeners("hermes:p:s0"), 1);
    assert_int_equal(shard->pattern_count, 2);
    hand_publish(hand, "more:x", 7, 0, ++n, 1);
    hand_publish(hand, "s0:x", 7, 0, 1, 1);
    SITE_UNTIL(s, s->journals[0].len > 0 && s->journals[1].len > 0);
    site_heard(s, 1, "1 ");
    ask(s, &w, "s1:*", false);
    site_wait(s, &w, ERRAND_DONE);
    assert_int_equal(listeners("hermes:p:s1"), 1);
    assert_int_equal(listeners("hermes:p:"), 0);
    site_leave_pattern(s, 0, p);
    site_leave_pattern(s, 1, first);
    site_close(s);
}

/* Broken by counting the ticks without a pattern from whenever the last one left: the channel goes
 * between the answer and the joining, and nothing is heard. */
static void who_was_told_that_a_channel_is_there_has_the_time_to_join(void **state)
{
    struct site *s = open_site();
    struct sent w;
    (void)state;
    tick_by_hand(s, 5 * IDLE_TICKS); /* no pattern for long */
    for (int i = 0; i < 4; i++) {
        ask(s, &w, "a:*", false);
        site_wait(s, &w, ERRAND_DONE);
        tick_by_hand(s, IDLE_TICKS - 1);
        assert_int_equal(listeners("hermes:p:a"), 1);
        assert_int_equal(s->cluster.shards[0].pattern_count, 1);
    }
    tick_by_hand(s, 1);
    assert_int_equal(s->cluster.shards[0].pattern_count, 0);
    site_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_segment_says_which_channel),
        cmocka_unit_test(one_channel_is_asked_for_once),
        cmocka_unit_test(a_pattern_is_given_each_message_once_and_only_what_it_matches),
        cmocka_unit_test(past_so_many_channels_patterns_listen_to_everything),
        cmocka_unit_test(after_a_break_patterns_are_told_once),
        cmocka_unit_test(who_waits_for_a_channel_is_told_when_the_link_breaks),
        cmocka_unit_test(channels_go_some_seconds_after_the_last_pattern),
        cmocka_unit_test(the_channel_of_a_gone_pattern_goes_while_others_are_in_use),
        cmocka_unit_test(who_comes_when_a_channel_is_let_go_of_misses_nothing),
        cmocka_unit_test(a_channel_that_is_being_subscribed_is_not_let_go_of),
        cmocka_unit_test(places_that_channels_leave_are_used_again),
        cmocka_unit_test(who_was_told_that_a_channel_is_there_has_the_time_to_join),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
