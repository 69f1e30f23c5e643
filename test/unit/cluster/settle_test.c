/* What a topic's subscribers are given after a break: what was missed where it can be had, a gap
 * where it cannot, each message once and in order. */
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

/* --- a subscriber, and another broker --------------------------------------------------------- */

struct view {
    struct site *site;
    const char *name;
    uint32_t keeps;
    uint64_t next; /* number to publish */
    uint64_t epochs;
    struct registry_topic *topic;
};

/* The other broker publishes. */
static void publish(struct view *v, uint32_t count)
{
    hand_publish(hand, v->name, ++v->epochs, v->keeps, v->next, count);
    v->next += count;
}

/* A subscriber that has been given 1, 2 and 3. */
static void open_view(struct view *v, const char *name, uint32_t keeps)
{
    hand_do(hand, "FLUSHALL");
    *v = (struct view){.site = site_open(redis.port), .name = name, .keeps = keeps, .next = 1};
    v->topic = site_join(v->site, 0, name);
    publish(v, 3);
    SITE_UNTIL(v->site, v->topic->offset == 3);
    site_heard(v->site, 0, "1 2 3 ");
}

static void close_view(struct view *v)
{
    site_leave(v->site, 0, v->topic);
    site_close(v->site);
}

static struct shard *shard_of(struct view *v)
{
    return &v->site->cluster.shards[0];
}

static void until_state(struct view *v, enum follow_state state)
{
    SITE_UNTIL(v->site, site_is(v->site, v->name, state));
}

static void break_link(struct view *v)
{
    redis_link_break(shard_of(v)->subscriber, "of the test");
    until_state(v, FOLLOW_AWAY);
}

/* Of the topic, that wait. */
static unsigned held(struct view *v)
{
    unsigned count = 0;
    for (struct held *h = site_followed(v->site, v->name)->held_first; h; h = h->next)
        count += h->message->count;
    return count;
}

static void until_held(struct view *v, unsigned count)
{
    redis_link_pause(shard_of(v)->commands, true);
    SITE_UNTIL(v->site, held(v) == count);
    redis_link_pause(shard_of(v)->commands, false);
}

/* Redis has said where it is, and what is published from now on comes before the second
 * confirmation. */
static void until_said(struct view *v)
{
    until_state(v, FOLLOW_ASKING);
    redis_link_pause(shard_of(v)->subscriber, true);
    until_state(v, FOLLOW_SETTLING);
    redis_link_pause(shard_of(v)->subscriber, false);
}

/* All is given, that was published; and what comes then goes on behind it. */
static void expect(struct view *v, const char *heard)
{
    char next[20];
    until_state(v, FOLLOW_LIVE);
    site_turns(v->site, 2);
    until_state(v, FOLLOW_LIVE);
    site_heard(v->site, 0, heard);
    assert_null(site_followed(v->site, v->name)->held_first);
    assert_int_equal(v->site->cluster.held, 0);
    snprintf(next, sizeof next, "%u ", (unsigned)v->next);
    publish(v, 1);
    SITE_UNTIL(v->site, v->site->journals[0].len > 0);
    site_heard(v->site, 0, next);
}

static int64_t missed(struct view *v)
{
    return metric_get(&v->site->cluster.metrics, METRIC_cluster_missed_total);
}

/* --- in the same epoch ------------------------------------------------------------------------ */

static void where_nothing_was_published_nothing_is_told(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct view v;
        open_view(&v, keeps ? "kept:a" : "a", keeps ? 1000 : 0);
        break_link(&v);
        expect(&v, "");
        assert_int_equal(missed(&v), 0);
        close_view(&v);
    }
}

static void what_was_missed_is_fetched(void **state)
{
    struct view v;
    (void)state;
    open_view(&v, "kept:a", 1000);
    break_link(&v);
    publish(&v, 4);
    expect(&v, "4 5 6 7 ");
    assert_int_equal(missed(&v), 0);
    close_view(&v);
}

/* Broken by a gap for whatever is no answer: it is all there. */
static void what_was_missed_is_fetched_though_redis_has_lost_the_scripts(void **state)
{
    struct view v;
    (void)state;
    open_view(&v, "kept:a", 1000);
    break_link(&v);
    publish(&v, 4);
    until_state(&v, FOLLOW_FETCHING); /* and is not written yet */
    hand_do(hand, "SCRIPT FLUSH");
    expect(&v, "4 5 6 7 ");
    assert_int_equal(missed(&v), 0);
    close_view(&v);
}

static void a_great_deal_is_fetched_in_pieces(void **state)
{
    enum { MANY = 5500 };
    struct view v;
    struct rule rule = rule_keeping(6000);
    (void)state;
    open_view(&v, "many", 6000);
    rule.match = TEXT("many");
    site_use_rules(v.site, &rule, 1);
    mailbox_post(&v.site->cluster.box, (struct mail){.kind = MAIL_RULES});
    break_link(&v);
    struct buf all = {0};
    for (unsigned i = 4; i < 4 + MANY; i++) {
        char number[20];
        snprintf(number, sizeof number, "%u ", i);
        buf_append_text(&all, text_of(number));
    }
    buf_append(&all, "", 1);
    for (int i = 0; i < MANY / 500; i++)
        publish(&v, 500);
    expect(&v, all.data);
    assert_int_equal(missed(&v), 0);
    buf_fini(&all);
    close_view(&v);
}

static void what_nobody_keeps_is_told_by_a_gap(void **state)
{
    struct view v;
    (void)state;
    open_view(&v, "a", 0);
    break_link(&v);
    publish(&v, 4);
    expect(&v, "[4-7]! ");
    assert_int_equal(missed(&v), 4);
    close_view(&v);
}

static void what_is_not_kept_any_more_is_told_and_the_rest_given(void **state)
{
    struct view v;
    (void)state;
    open_view(&v, "few:a", 3);
    break_link(&v);
    publish(&v, 7);
    expect(&v, "[4-7]! 8 9 10 ");
    assert_int_equal(missed(&v), 4);
    close_view(&v);
}

static void the_past_that_redis_has_lost_is_told(void **state)
{
    struct view v;
    (void)state;
    open_view(&v, "kept:a", 1000);
    break_link(&v);
    publish(&v, 4);
    hand_do(hand, "DEL hermes:h:kept:a");
    expect(&v, "[4-7]! ");
    close_view(&v);
}

static void a_past_that_is_refused_is_told(void **state)
{
    struct view v;
    (void)state;
    open_view(&v, "kept:a", 1000);
    break_link(&v);
    publish(&v, 4);
    hand_do(hand, "RENAME hermes:h:kept:a aside");
    hand_do(hand, "SET hermes:h:kept:a x");
    until_state(&v, FOLLOW_FETCHING);
    until_state(&v, FOLLOW_LIVE);
    hand_do(hand, "DEL hermes:h:kept:a");
    expect(&v, "[4-7]! ");
    close_view(&v);
}

/* --- what came before its turn ---------------------------------------------------------------- */

static void what_came_already_is_no_gap(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct view v;
        open_view(&v, keeps ? "kept:a" : "a", keeps ? 1000 : 0);
        break_link(&v);
        until_state(&v, FOLLOW_ASKING); /* and is not asked yet */
        publish(&v, 2);
        until_held(&v, 2);
        expect(&v, "4 5 ");
        assert_int_equal(missed(&v), 0);
        close_view(&v);
    }
}

static void only_what_lies_before_that_is_missing(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct view v;
        open_view(&v, keeps ? "kept:a" : "a", keeps ? 1000 : 0);
        break_link(&v);
        publish(&v, 2);
        until_state(&v, FOLLOW_ASKING);
        publish(&v, 3);
        until_held(&v, 3);
        expect(&v, keeps ? "4 5 6 7 8 " : "[4-5]! 6 7 8 ");
        close_view(&v);
    }
}

static void what_comes_behind_the_position_follows_what_was_fetched(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct view v;
        open_view(&v, keeps ? "kept:a" : "a", keeps ? 1000 : 0);
        break_link(&v);
        publish(&v, 2);
        until_said(&v);
        publish(&v, 2);
        if (keeps) {
            until_state(&v, FOLLOW_FETCHING);
            publish(&v, 2); /* it may be in what is fetched, too */
            until_held(&v, 4);
        } else {
            publish(&v, 2);
            SITE_UNTIL(v.site, v.topic->offset == 9);
        }
        expect(&v, keeps ? "4 5 6 7 8 9 " : "[4-5]! 6 7 8 9 ");
        close_view(&v);
    }
}

/* Broken by telling a gap up to what Redis still keeps: some of that is held. */
static void what_is_held_is_given_though_redis_does_not_keep_it_any_more(void **state)
{
    struct view v;
    (void)state;
    open_view(&v, "few:a", 3);
    break_link(&v);
    publish(&v, 7);
    until_state(&v, FOLLOW_ASKING);
    publish(&v, 4); /* 11 to 14; 12 to 14 are kept */
    until_held(&v, 4);
    expect(&v, "[4-10]! 11 12 13 14 ");
    assert_int_equal(missed(&v), 7);
    close_view(&v);
}

/* The same with what is published while it is being fetched. */
static void what_redis_forgets_meanwhile_has_come(void **state)
{
    struct view v;
    (void)state;
    open_view(&v, "few:a", 3);
    break_link(&v);
    publish(&v, 2); /* 4, 5 */
    until_said(&v);
    publish(&v, 9); /* 6 to 14, and 4 and 5 are gone */
    expect(&v, "[4-5]! 6 7 8 9 10 11 12 13 14 ");
    close_view(&v);
}

/* --- no room ---------------------------------------------------------------------------------- */

static void what_there_was_no_room_for_is_asked_for_again(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct view v;
        open_view(&v, keeps ? "kept:a" : "a", keeps ? 1000 : 0);
        break_link(&v);
        until_state(&v, FOLLOW_ASKING);
        publish(&v, 2); /* 4, 5 */
        until_held(&v, 2);
        v.site->cluster.held += 1 << 30; /* as if others had it */
        redis_link_pause(shard_of(&v)->commands, true);
        publish(&v, 2); /* 6, 7 */
        SITE_UNTIL(v.site, site_followed(v.site, v.name)->again);
        v.site->cluster.held -= 1 << 30;
        publish(&v, 1); /* 8 */
        SITE_UNTIL(v.site, held(&v) == 3);
        redis_link_pause(shard_of(&v)->commands, false);
        expect(&v, keeps ? "4 5 6 7 8 " : "4 5 [6-7]! 8 ");
        close_view(&v);
    }
}

/* --- another epoch ---------------------------------------------------------------------------- */

static void lose_topic(struct view *v)
{
    char line[100];
    snprintf(line, sizeof line, "DEL hermes:t:%s hermes:h:%s", v->name, v->name);
    hand_do(hand, line);
}

static void offsets_that_begin_anew_are_told_with_what_was_missed_of_them(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct view v;
        open_view(&v, keeps ? "kept:a" : "a", keeps ? 1000 : 0);
        uint64_t before = v.topic->epoch;
        break_link(&v);
        publish(&v, 2); /* of the old ones: nobody knows */
        lose_topic(&v);
        publish(&v, 3);
        expect(&v, keeps ? "{1-0} 6 7 8 " : "{1-3}! ");
        assert_int_equal(missed(&v), keeps ? 0 : 3);
        assert_true(v.topic->epoch != before);
        assert_int_equal(v.topic->offset, 4);
        close_view(&v);
    }
}

static void a_new_epoch_of_which_the_past_is_gone_is_a_gap_too(void **state)
{
    struct view v;
    (void)state;
    open_view(&v, "few:a", 3);
    break_link(&v);
    lose_topic(&v);
    publish(&v, 5);
    expect(&v, "{1-0} [1-2]! 6 7 8 ");
    close_view(&v);
}

static void a_new_epoch_that_came_whole_has_no_gap(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct view v;
        open_view(&v, keeps ? "kept:a" : "a", keeps ? 1000 : 0);
        break_link(&v);
        until_state(&v, FOLLOW_ASKING);
        lose_topic(&v);
        publish(&v, 2);
        until_held(&v, 2);
        expect(&v, "{1-0} 4 5 ");
        assert_int_equal(missed(&v), 0);
        close_view(&v);
    }
}

/* No link breaks: a message of another epoch is how it is found out. */
static void a_topic_that_redis_forgets_goes_on_at_its_next_message(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct view v;
        open_view(&v, keeps ? "kept:a" : "a", keeps ? 1000 : 0);
        lose_topic(&v);
        publish(&v, 1);
        SITE_UNTIL(v.site, v.topic->offset == 1);
        expect(&v, "{1-0} 4 ");
        assert_int_equal(missed(&v), 0);
        close_view(&v);
    }
}

static void what_is_held_of_an_epoch_that_has_ended_is_not_given(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct view v;
        open_view(&v, keeps ? "kept:a" : "a", keeps ? 1000 : 0);
        break_link(&v);
        until_state(&v, FOLLOW_ASKING);
        publish(&v, 1); /* 4, of the old one */
        lose_topic(&v);
        publish(&v, 2);
        until_held(&v, 3);
        expect(&v, "{1-0} 5 6 ");
        close_view(&v);
    }
}

/* Redis has said where the old one was, and loses it before the past is fetched. */
static void an_epoch_that_ends_in_the_midst_of_it_is_found_out(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct view v;
        open_view(&v, keeps ? "kept:a" : "a", keeps ? 1000 : 0);
        break_link(&v);
        publish(&v, 1); /* 4 */
        until_said(&v);
        publish(&v, 1); /* 5 */
        lose_topic(&v);
        publish(&v, 2);
        expect(&v, keeps ? "{1-0} 6 7 " : "[4-4]! 5 {1-2}! ");
        close_view(&v);
    }
}

/* --- a server that has lost what it had numbered ---------------------------------------------- */

static void lose_last(struct view *v)
{
    char line[100];
    snprintf(line, sizeof line, "HINCRBY hermes:t:%s o -2", v->name);
    hand_do(hand, line);
    if (v->keeps) {
        snprintf(line, sizeof line, "HINCRBY hermes:t:%s l -2", v->name);
        hand_do(hand, line);
        snprintf(line, sizeof line, "LTRIM hermes:h:%s 0 0", v->name);
        hand_do(hand, line);
    }
}

static void no_number_is_given_twice_in_an_epoch(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct view v;
        open_view(&v, keeps ? "kept:a" : "a", keeps ? 1000 : 0);
        uint64_t before = v.topic->epoch;
        break_link(&v);
        lose_last(&v);
        SITE_UNTIL(v.site, v.topic->epoch != before);
        expect(&v, "{1-0} ");
        assert_int_equal(v.topic->offset, 1);
        close_view(&v);
    }
}

/* The other broker's server is that run from now on, and publishes. */
static void take_over(struct view *v, const char *run, uint32_t count)
{
    char line[60];
    snprintf(line, sizeof line, "SET hermes:run %s1000", run); /* all have had their time */
    hand_do(hand, line);
    memcpy(hand->run, run, RUN_DIGITS);
    publish(v, count);
}

/* Broken by comparing with where Redis is now: it has come there again, or further, with others. */
static void who_comes_when_lost_numbers_were_given_again_begins_anew(void **state)
{
    (void)state;
    for (int how = 0; how < 8; how++) {
        struct view v;
        bool keeps = how % 2;
        char run[RUN_DIGITS + 1];
        memcpy(run, hand->run, sizeof run);
        open_view(&v, keeps ? "kept:a" : "a", keeps ? 1000 : 0);
        uint64_t before = v.topic->epoch;
        break_link(&v);
        lose_last(&v);
        take_over(&v, "dddddddddddddddd", how & 2 ? 2 : 6); /* from 2 on; 3 was had */
        for (int more = 0; more < how / 4 * 3; more++)      /* which have lost nothing */
            take_over(&v, more % 2 ? "eeeeeeeeeeeeeeee" : "ffffffffffffffff", 1);
        SITE_UNTIL(v.site, v.topic->epoch != before);
        expect(&v, "{1-0} ");
        assert_int_equal(v.topic->offset, 1);
        close_view(&v);
        memcpy(hand->run, run, sizeof run);
    }
}

static void goes_on(struct view *v, const char *heard)
{
    uint64_t before = v->topic->epoch;
    expect(v, heard);
    assert_true(v->topic->epoch == before);
}

/* Broken by not looking up the run in which the position was asked for, and by not looking up the
 * one that had taken over then. */
static void who_comes_late_begins_nothing_anew_where_nothing_was_lost(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        struct view v;
        char run[RUN_DIGITS + 1];
        memcpy(run, hand->run, sizeof run);
        bool first = how < 2; /* the site's own run comes first, or second */
        if (!first)
            memcpy(hand->run, "cccccccccccccccc", RUN_DIGITS);
        hand_do(hand, "FLUSHALL");
        v = (struct view){.name = "kept:a", .keeps = 1000, .next = 1};
        publish(&v, 2);
        v.site = site_open(redis.port);
        v.topic = site_join(v.site, 0, v.name);
        if (first)
            break_link(&v);
        take_over(&v, first ? "dddddddddddddddd" : run, 3);
        SITE_UNTIL(v.site, v.topic->offset == 5);
        goes_on(&v, "3 4 5 "); /* and has 6 */
        break_link(&v);
        goes_on(&v, "");
        if (how % 2) { /* and one that it has not met */
            break_link(&v);
            take_over(&v, "eeeeeeeeeeeeeeee", 1);
            goes_on(&v, "8 ");
            break_link(&v);
            goes_on(&v, "");
        }
        close_view(&v);
        memcpy(hand->run, run, sizeof run);
    }
}

/* Two brokers find it out: one of them renews the topic, the other takes what that made of it. */
static void brokers_agree_on_the_new_epoch(void **state)
{
    struct view v;
    (void)state;
    open_view(&v, "kept:a", 1000);
    struct site *other = site_open(redis.port);
    struct registry_topic *there = site_join(other, 1, "kept:a");
    uint64_t before = v.topic->epoch;
    redis_link_break(other->cluster.shards[0].subscriber, "of the test");
    SITE_UNTIL(other, site_is(other, "kept:a", FOLLOW_AWAY));
    break_link(&v);
    lose_last(&v);
    while (v.topic->epoch == before || there->epoch == before) {
        site_turn(v.site, UV_RUN_NOWAIT);
        site_turn(other, UV_RUN_NOWAIT);
    }
    SITE_UNTIL(other, site_is(other, "kept:a", FOLLOW_LIVE));
    expect(&v, "{1-0} ");
    SITE_UNTIL(other, there->offset == 1);
    assert_true(v.topic->epoch == there->epoch);
    site_heard(other, 1, "{1-0} 4 ");
    site_leave(other, 1, there);
    site_close(other);
    close_view(&v);
}

/* --- patterns --------------------------------------------------------------------------------- */

/* What a pattern was given of a topic before it was live here is not given again, and nothing is
 * left out between. */
static void a_topic_becomes_live_behind_what_patterns_have_had_of_it(void **state)
{
    (void)state;
    for (int where = 0; where < 3; where++) {
        struct view v = {.name = "a:b", .next = 1};
        struct sent w;
        hand_do(hand, "FLUSHALL");
        struct site *s = v.site = site_open(redis.port);
        struct pattern *p = site_join_pattern(s, 1, "a:*");
        publish(&v, 2);
        SITE_UNTIL(s, s->journals[1].len > 0);
        site_send(s, &w, (struct errand){.kind = ERRAND_FOLLOW}, "a:b");
        until_state(&v, FOLLOW_ASKING);
        if (where == 0)
            publish(&v, 2);
        until_said(&v);
        if (where == 1)
            publish(&v, 2);
        site_wait(s, &w, ERRAND_DONE);
        v.topic = site_try_join(s, 0, "a:b").topic;
        publish(&v, where == 2 ? 3 : 1);
        SITE_UNTIL(s, v.topic->offset == 5);
        site_heard(s, 0, where == 2 ? "3 4 5 " : "5 ");
        site_heard(s, 1, "1 2 3 4 5 ");
        site_leave_pattern(s, 1, p);
        close_view(&v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_nothing_was_published_nothing_is_told),
        cmocka_unit_test(what_was_missed_is_fetched),
        cmocka_unit_test(what_was_missed_is_fetched_though_redis_has_lost_the_scripts),
        cmocka_unit_test(a_great_deal_is_fetched_in_pieces),
        cmocka_unit_test(what_nobody_keeps_is_told_by_a_gap),
        cmocka_unit_test(what_is_not_kept_any_more_is_told_and_the_rest_given),
        cmocka_unit_test(the_past_that_redis_has_lost_is_told),
        cmocka_unit_test(a_past_that_is_refused_is_told),
        cmocka_unit_test(what_came_already_is_no_gap),
        cmocka_unit_test(only_what_lies_before_that_is_missing),
        cmocka_unit_test(what_comes_behind_the_position_follows_what_was_fetched),
        cmocka_unit_test(what_is_held_is_given_though_redis_does_not_keep_it_any_more),
        cmocka_unit_test(what_redis_forgets_meanwhile_has_come),
        cmocka_unit_test(what_there_was_no_room_for_is_asked_for_again),
        cmocka_unit_test(offsets_that_begin_anew_are_told_with_what_was_missed_of_them),
        cmocka_unit_test(a_new_epoch_of_which_the_past_is_gone_is_a_gap_too),
        cmocka_unit_test(a_new_epoch_that_came_whole_has_no_gap),
        cmocka_unit_test(a_topic_that_redis_forgets_goes_on_at_its_next_message),
        cmocka_unit_test(what_is_held_of_an_epoch_that_has_ended_is_not_given),
        cmocka_unit_test(an_epoch_that_ends_in_the_midst_of_it_is_found_out),
        cmocka_unit_test(no_number_is_given_twice_in_an_epoch),
        cmocka_unit_test(who_comes_when_lost_numbers_were_given_again_begins_anew),
        cmocka_unit_test(who_comes_late_begins_nothing_anew_where_nothing_was_lost),
        cmocka_unit_test(brokers_agree_on_the_new_epoch),
        cmocka_unit_test(a_topic_becomes_live_behind_what_patterns_have_had_of_it),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
