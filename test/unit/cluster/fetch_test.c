/* What Redis keeps of a topic, for whoever has not had it. */
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

/* The messages `first` to `last`, whose data are their offsets. */
static void expect(struct sent *w, uint64_t oldest, uint64_t first, uint64_t last)
{
    const struct errand *e = &w->errand;
    assert_true(e->epoch == 7);
    assert_int_equal(e->offset, 100);
    assert_int_equal(e->oldest, oldest);
    assert_int_equal(e->first, first);
    assert_int_equal(e->count, last + 1 - first);
    assert_true(payload_frames_good(buf_text(&e->found), e->count));
    const char *at = e->found.data;
    for (uint64_t n = first; n <= last; n++) {
        struct text data;
        char number[24];
        at = message_frame(at, &data);
        snprintf(number, sizeof number, "%llu", (unsigned long long)n);
        assert_true(text_equal(data, text_of(number)));
    }
    buf_fini(&w->errand.found);
}

static void fetch(struct site *s, struct sent *w, uint64_t from, uint32_t most, size_t bytes)
{
    site_send(s, w,
        (struct errand){.kind = ERRAND_FETCH, .from = from, .most = most, .bytes = bytes},
        "kept:a");
    site_wait(s, w, ERRAND_DONE);
}

static void it_is_given_from_an_offset_on_or_the_newest(void **state)
{
    struct site *s = site_open(redis.port);
    struct sent w;
    (void)state;
    hand_do(hand, "FLUSHALL");
    hand_publish(hand, "kept:a", 7, 50, 1, 100); /* 51 to 100 are kept */
    fetch(s, &w, 60, 1000, 1 << 20);
    expect(&w, 51, 60, 100);
    fetch(s, &w, 60, 5, 1 << 20);
    expect(&w, 51, 60, 64);
    fetch(s, &w, 1, 5, 1 << 20);
    expect(&w, 51, 51, 55);
    fetch(s, &w, 0, 5, 1 << 20);
    expect(&w, 51, 96, 100);
    fetch(s, &w, 0, 1000, 1 << 20);
    expect(&w, 51, 51, 100);
    fetch(s, &w, 51, 1000, 1);
    expect(&w, 51, 51, 51);
    fetch(s, &w, 101, 10, 1 << 20);
    expect(&w, 51, 101, 100);
    site_close(s);
}

static void what_is_too_old_is_not_there(void **state)
{
    struct site *s = site_open(redis.port);
    struct sent w;
    (void)state;
    hand_do(hand, "FLUSHALL");
    hand_publish(hand, "kept:a", 7, 50, 1, 100);
    hand_do(hand, "LSET hermes:h:kept:a 0 0000000000001x");
    hand_do(hand, "LSET hermes:h:kept:a 1 0000000000001x");
    for (int retain = 0; retain < 2; retain++) {
        site_send(s, &w,
            (struct errand){.kind = ERRAND_FETCH,
                .from = 1,
                .most = 1000,
                .bytes = 1 << 20,
                .age_us = UINT64_C(3600000000),
                .retain = retain},
            "kept:a");
        site_wait(s, &w, ERRAND_DONE);
        expect(&w, 53, 53, 100);
    }
    site_close(s);
}

static void of_a_topic_that_is_not_there_nothing_is(void **state)
{
    struct site *s = site_open(redis.port);
    struct sent w;
    (void)state;
    hand_do(hand, "FLUSHALL");
    fetch(s, &w, 0, 10, 1000);
    assert_true(w.errand.epoch == 0 && w.errand.offset == 0 && w.errand.oldest == 1);
    assert_int_equal(w.errand.count, 0);
    assert_int_equal(w.errand.found.len, 0);
    assert_int_equal(hand_number(hand, "EXISTS hermes:t:kept:a"), 0);
    hand_publish(hand, "kept:a", 7, 0, 1, 3); /* numbered, and not kept */
    fetch(s, &w, 1, 10, 1000);
    assert_true(w.errand.epoch == 7 && w.errand.offset == 3 && w.errand.oldest == 4);
    assert_int_equal(w.errand.count, 0);
    site_close(s);
}

static void an_answer_that_is_none_is_unavailable(void **state)
{
    struct site *s = site_open(redis.port);
    struct sent w;
    (void)state;
    static const char *const bad[] = {"SET hermes:h:kept:a x", "LPUSH hermes:h:kept:a x",
        "LPUSH hermes:h:kept:a 0000000000001\x81\x05one", "HSET hermes:t:kept:a e xx"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hand_do(hand, "FLUSHALL");
        hand_do(hand, "HSET hermes:t:kept:a e 0000000000000007 o 1 l 1");
        hand_do(hand, bad[i]);
        site_send(s, &w,
            (struct errand){.kind = ERRAND_FETCH, .from = 1, .most = 10, .bytes = 1000}, "kept:a");
        site_wait(s, &w, ERRAND_UNAVAILABLE);
        assert_int_equal(w.errand.found.len, 0);
        assert_true(w.errand.refused);
    }
    assert_true(site_is_up(s));
    site_close(s);
}

static void who_is_under_way_when_the_link_breaks_is_told(void **state)
{
    struct site *s = site_open(redis.port);
    struct shard *shard = &s->cluster.shards[0];
    struct sent w;
    (void)state;
    redis_link_pause(shard->commands, true);
    site_send(s, &w, (struct errand){.kind = ERRAND_FETCH, .from = 1, .most = 10, .bytes = 1000},
        "kept:a");
    site_turns(s, 5);
    assert_int_equal(w.back, 0);
    redis_link_break(shard->commands, "of the test");
    redis_link_pause(shard->commands, false);
    site_wait(s, &w, ERRAND_UNAVAILABLE);
    assert_false(w.errand.refused);
    site_close(s);
}

/* It may be asked again: what it keeps is there. Seen to fail where each error is the last word. */
static void what_redis_cannot_tell_for_the_moment_is_not_refused(void **state)
{
    struct site *s = site_open(redis.port);
    struct sent w;
    (void)state;
    hand_do(hand, "FLUSHALL");
    hand_publish(hand, "kept:a", 7, 50, 1, 100);
    hand_do(hand, "SCRIPT FLUSH");
    site_send(s, &w, (struct errand){.kind = ERRAND_FETCH, .from = 51, .most = 10, .bytes = 1000},
        "kept:a");
    site_wait(s, &w, ERRAND_UNAVAILABLE);
    assert_false(w.errand.refused);
    SITE_UNTIL(s, site_is_up(s));
    fetch(s, &w, 51, 10, 1000);
    expect(&w, 51, 51, 60);
    static const char *const moments[] = {"NOSCRIPT x", "BUSY x", "LOADING x", "READONLY x",
        "MASTERDOWN x", "TRYAGAIN x", "CLUSTERDOWN x"};
    for (size_t i = 0; i < sizeof moments / sizeof *moments; i++)
        assert_true(
            fetch_comes_again(&(struct resp){.kind = RESP_ERROR, .text = text_of(moments[i])}));
    assert_true(fetch_comes_again(NULL));
    assert_false(fetch_comes_again(&(struct resp){.kind = RESP_ERROR, .text = TEXT("WRONGTYPE")}));
    assert_false(fetch_comes_again(&(struct resp){.kind = RESP_TEXT, .text = TEXT("BUSY")}));
    site_close(s);
}

/* --- many at once ----------------------------------------------------------------------------- */

enum { MANY = 12, AT_ONCE = 4 };

static void send_many(struct site *s, struct sent *many, size_t bytes)
{
    for (int i = 0; i < MANY; i++)
        site_send(s, &many[i],
            (struct errand){.kind = ERRAND_FETCH, .from = 1, .most = 10, .bytes = bytes}, "kept:a");
    site_turns(s, 5);
}

/* Or strangers have Redis work for them for seconds, and everybody's publishes wait for that. Seen
 * to fail where all are asked at once. */
static void few_are_under_way_at_once_and_all_have_their_turn_in_order(void **state)
{
    struct site *s = site_open(redis.port);
    struct shard *shard = &s->cluster.shards[0];
    struct sent many[MANY];
    (void)state;
    hand_do(hand, "FLUSHALL");
    hand_publish(hand, "kept:a", 7, 50, 1, 100);
    redis_link_pause(shard->commands, true);
    send_many(s, many, 1000);
    assert_int_equal(shard->fetches, AT_ONCE);
    assert_int_equal(shard->fetch_bytes, (MANY - AT_ONCE) * 1000);
    assert_int_equal(atomic_load(&s->cluster.box.weight), 0); /* no publisher waits for it */
    redis_link_pause(shard->commands, false);
    for (int i = 0; i < MANY; i++) {
        site_wait(s, &many[i], ERRAND_DONE);
        assert_int_equal(many[i].nth, many[0].nth + (unsigned)i);
        expect(&many[i], 51, 51, 60);
    }
    assert_int_equal(shard->fetches, 0);
    assert_int_equal(shard->fetch_bytes, 0);
    site_close(s);
}

/* Seen to fail where those that wait are left to. */
static void those_that_wait_are_told_that_the_link_broke_and_others_come_after_them(void **state)
{
    struct site *s = site_open(redis.port);
    struct shard *shard = &s->cluster.shards[0];
    struct sent many[MANY], w;
    (void)state;
    hand_do(hand, "FLUSHALL");
    hand_publish(hand, "kept:a", 7, 50, 1, 100);
    redis_link_pause(shard->commands, true);
    send_many(s, many, 1000);
    redis_link_break(shard->commands, "of the test");
    redis_link_pause(shard->commands, false);
    for (int i = 0; i < MANY; i++)
        site_wait(s, &many[i], ERRAND_UNAVAILABLE);
    SITE_UNTIL(s, site_is_up(s));
    fetch(s, &w, 51, 10, 1000);
    expect(&w, 51, 51, 60);
    site_close(s);
}

/* Seen to fail without the bound. */
static void what_is_asked_for_by_those_that_wait_is_bounded(void **state)
{
    struct site *s = site_open(redis.port);
    struct sent many[MANY];
    (void)state;
    redis_link_pause(s->cluster.shards[0].commands, true);
    send_many(s, many, (size_t)1 << 30); /* four wait */
    for (int i = 0; i < MANY; i++)
        assert_int_equal(many[i].back, i >= 2 * AT_ONCE);
    redis_link_pause(s->cluster.shards[0].commands, false);
    for (int i = 0; i < MANY; i++)
        site_wait(s, &many[i], i < 2 * AT_ONCE ? ERRAND_DONE : ERRAND_UNAVAILABLE);
    for (int i = 0; i < MANY; i++)
        buf_fini(&many[i].errand.found);
    site_close(s);
}

/* Seen to fail where what was found weighs nothing. */
static void nothing_is_fetched_for_a_worker_that_does_not_take_what_was(void **state)
{
    struct site *s = site_open(redis.port);
    struct sent many[MANY];
    size_t crowded = s->shop.route.crowded;
    (void)state;
    hand_do(hand, "FLUSHALL");
    hand_publish(hand, "kept:a", 7, 50, 1, 100);
    s->shop.route.crowded = 1;
    send_many(s, many, 1000);
    uint64_t end = clock_ms() + SITE_PATIENCE_MS;
    while (!mailbox_crowded(&s->home, 1) && clock_ms() < end)
        uv_run(&s->cluster.loop, UV_RUN_NOWAIT);
    assert_true(mailbox_crowded(&s->home, 1));
    for (int i = 0; i < 50; i++) {
        hand_do(hand, "PING");
        uv_run(&s->cluster.loop, UV_RUN_NOWAIT);
    }
    assert_true(s->cluster.shards[0].fetch_waiting.first);
    s->shop.route.crowded = crowded;
    for (int i = 0; i < MANY; i++) {
        site_wait(s, &many[i], ERRAND_DONE);
        expect(&many[i], 51, 51, 60);
    }
    assert_false(mailbox_crowded(&s->home, 0));
    site_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_given_from_an_offset_on_or_the_newest),
        cmocka_unit_test(what_is_too_old_is_not_there),
        cmocka_unit_test(of_a_topic_that_is_not_there_nothing_is),
        cmocka_unit_test(an_answer_that_is_none_is_unavailable),
        cmocka_unit_test(who_is_under_way_when_the_link_breaks_is_told),
        cmocka_unit_test(what_redis_cannot_tell_for_the_moment_is_not_refused),
        cmocka_unit_test(few_are_under_way_at_once_and_all_have_their_turn_in_order),
        cmocka_unit_test(those_that_wait_are_told_that_the_link_broke_and_others_come_after_them),
        cmocka_unit_test(what_is_asked_for_by_those_that_wait_is_bounded),
        cmocka_unit_test(nothing_is_fetched_for_a_worker_that_does_not_take_what_was),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
