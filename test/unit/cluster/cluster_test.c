/* The cluster thread as a whole: several servers, its end, workers that are behind, other rules. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/cluster_harness.h"
#include "support/real_redis.h"
#include "support/redis_hand.h"

static struct real_redis redis[2];
static struct hand *hands[2];

static int start(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        real_redis_open(&redis[i]);
        real_redis_start(&redis[i], NULL);
        hands[i] = hand_open(redis[i].port);
    }
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        hand_close(hands[i]);
        real_redis_close(&redis[i]);
    }
    return 0;
}

static struct site *open_on_both(void)
{
    struct site *s = site_new();
    char urls[SITE_URLS];
    for (int i = 0; i < 2; i++)
        hand_do(hands[i], "FLUSHALL");
    snprintf(urls, sizeof urls, "redis://127.0.0.1:%u,redis://127.0.0.1:%u", redis[0].port,
        redis[1].port);
    site_begin(s, urls);
    SITE_UNTIL(s, site_is_up(s));
    return s;
}

/* --- several servers -------------------------------------------------------------------------- */

static void topics_are_spread_the_same_way_by_all_brokers(void **state)
{
    enum { MANY = 100 };
    struct site *s = open_on_both(), *other = site_new();
    unsigned on[2] = {0, 0};
    (void)state;
    site_begin(other, s->urls);
    for (int i = 0; i < MANY; i++) {
        struct sent w;
        char name[20], line[60];
        snprintf(name, sizeof name, "t:%d", i);
        unsigned where = cluster_shard(&s->cluster, text_of(name))->index;
        assert_int_equal(cluster_shard(&other->cluster, text_of(name))->index, where);
        site_publish(s, &w, name, 1, 1);
        site_wait(s, &w, ERRAND_DONE);
        snprintf(line, sizeof line, "EXISTS hermes:t:%s", name);
        assert_int_equal(hand_number(hands[where], line), 1);
        assert_int_equal(hand_number(hands[!where], line), 0);
        on[where]++;
    }
    assert_true(on[0] > MANY / 4 && on[1] > MANY / 4);
    site_close(other);
    site_close(s);
}

static void patterns_hear_of_topics_of_all_servers(void **state)
{
    struct site *s = open_on_both();
    struct sent w;
    (void)state;
    struct pattern *p = site_join_pattern(s, 0, "t:*");
    char expected[400] = "";
    for (int i = 0; i < 20; i++) {
        char name[20];
        snprintf(name, sizeof name, "t:%d", i);
        site_publish(s, &w, name, (uint64_t)i, 1);
        site_wait(s, &w, ERRAND_DONE);
        snprintf(expected + strlen(expected), 20, "%d ", i);
        SITE_UNTIL(s, s->journals[0].len == strlen(expected));
    }
    site_heard(s, 0, expected);
    site_leave_pattern(s, 0, p);
    site_close(s);
}

static void one_server_that_is_away_takes_its_own_topics_only(void **state)
{
    struct site *s = open_on_both();
    const char *names[2] = {NULL, NULL};
    static char name[100][12];
    struct registry_topic *topics[2];
    struct sent w;
    (void)state;
    for (int i = 0; i < 100; i++) {
        snprintf(name[i], sizeof name[i], "%d", i);
        names[cluster_shard(&s->cluster, text_of(name[i]))->index] = name[i];
    }
    for (int i = 0; i < 2; i++)
        topics[i] = site_join(s, 0, names[i]);
    kill(redis[1].pid, SIGSTOP);
    redis_link_break(s->cluster.shards[1].commands, "of the test");
    SITE_UNTIL(s, !s->cluster.shards[1].up);
    assert_int_equal(s->cluster.up, 1);
    assert_int_equal(metric_get(&s->cluster.metrics, METRIC_cluster_servers_up), 1);
    assert_string_equal(shop_unready(&s->shop), "redis away");
    site_publish(s, &w, names[1], 1, 1);
    site_wait(s, &w, ERRAND_UNAVAILABLE);
    site_publish(s, &w, names[0], 2, 1);
    site_wait(s, &w, ERRAND_DONE);
    site_heard(s, 0, "2 ");
    site_send(s, &w, (struct errand){.kind = ERRAND_PATTERN}, ">"); /* it needs both */
    site_wait(s, &w, ERRAND_UNAVAILABLE);
    kill(redis[1].pid, SIGCONT);
    SITE_UNTIL(s, site_is_up(s));
    assert_null(shop_unready(&s->shop));
    site_publish(s, &w, names[1], 3, 1);
    site_wait(s, &w, ERRAND_DONE);
    SITE_UNTIL(s, topics[1]->offset == 1);
    for (int i = 0; i < 2; i++)
        site_leave(s, 0, topics[i]);
    site_close(s);
}

/* --- workers that are behind ------------------------------------------------------------------ */

/* Broken by reading on: the mailbox of a worker that is behind grows without end. */
static void nothing_is_read_for_a_worker_that_is_behind(void **state)
{
    enum { MANY = 2000 };
    struct site *s = site_open(redis[0].port);
    size_t most = 0;
    (void)state;
    hand_do(hands[0], "FLUSHALL");
    s->shop.route.crowded = 20000;
    struct registry_topic *topic = site_join(s, 0, "a");
    s->paused = true;
    for (unsigned i = 0; i < MANY; i++) {
        hand_publish(hands[0], "a", 7, 0, i, 200);
        site_turns(s, 2);
        size_t weight = atomic_load(&s->boxes[0].weight);
        most = weight > most ? weight : most;
    }
    assert_true(s->cluster.crowded);
    assert_true(most > 20000 && most < 2000000); /* and what one read has brought */
    s->paused = false;
    SITE_UNTIL(s, topic->offset == 200 * MANY);
    SITE_UNTIL(s, !s->cluster.crowded);
    site_take_mail(s);
    assert_int_equal(metric_get(&s->cluster.metrics, METRIC_cluster_breaks_total), 0);
    site_leave(s, 0, topic);
    site_close(s);
}

static void who_waits_for_room_in_the_mailbox_is_told_when_there_is(void **state)
{
    enum { MANY = 100 };
    static struct sent sent[MANY];
    struct site *s = site_open(redis[0].port);
    struct mailbox *box = &s->cluster.box;
    (void)state;
    hand_do(hands[0], "FLUSHALL");
    s->shop.route.crowded = 5000;
    redis_link_pause(s->cluster.shards[0].commands, true);
    for (unsigned i = 0; i < MANY; i++)
        site_publish(s, &sent[i], "a", i, 1); /* a weight of 100 each */
    assert_true(mailbox_wait(box, 1, s->shop.route.crowded));
    uv_run(&s->cluster.loop, UV_RUN_NOWAIT);
    uv_run(&s->cluster.loop, UV_RUN_NOWAIT);
    assert_true(mailbox_crowded(box, s->shop.route.crowded)); /* taken is not done */
    redis_link_pause(s->cluster.shards[0].commands, false);
    struct mail mail = {.kind = MAIL_MESSAGE};
    uint64_t end = clock_ms() + SITE_PATIENCE_MS;
    while (mail.kind != MAIL_RESUME && clock_ms() < end) {
        uv_run(&s->cluster.loop, UV_RUN_ONCE);
        if (mailbox_take(&s->boxes[1], &s->trays[1]))
            mail = s->trays[1].mails[s->trays[1].at++];
    }
    assert_int_equal(mail.kind, MAIL_RESUME);
    assert_false(mailbox_crowded(box, s->shop.route.crowded));
    for (unsigned i = 0; i < MANY; i++)
        site_wait(s, &sent[i], ERRAND_DONE);
    assert_int_equal(atomic_load(&box->weight), 0);
    site_close(s);
}

/* --- rules ------------------------------------------------------------------------------------ */

static void other_rules_hold_from_then_on(void **state)
{
    struct site *s = site_open(redis[0].port);
    (void)state;
    hand_do(hands[0], "FLUSHALL");
    struct registry_topic *topic = site_join(s, 0, "now:a");
    struct rule rule = rule_keeping(100);
    rule.match = TEXT("now:>");
    for (int i = 0; i < 2; i++) {
        redis_link_break(s->cluster.shards[0].subscriber, "of the test");
        SITE_UNTIL(s, site_is(s, "now:a", FOLLOW_AWAY));
        hand_publish(hands[0], "now:a", 7, 100, 1, 2);
        SITE_UNTIL(s, site_is(s, "now:a", FOLLOW_LIVE));
        site_heard(s, 0, i ? "1 2 " : "[1-2]! ");
        site_use_rules(s, &rule, 1);
        mailbox_post(&s->cluster.box, (struct mail){.kind = MAIL_RULES});
        site_turns(s, 2);
    }
    site_leave(s, 0, topic);
    site_close(s);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void a_thread_that_never_ran_can_be_taken_apart(void **state)
{
    struct site *s = site_new();
    struct sent w;
    (void)state;
    site_begin(s, "redis://127.0.0.1:1,redis://127.0.0.1:1");
    site_publish(s, &w, "a", 1, 1);
    cluster_fini(&s->cluster);
    site_take_mail(s);
    assert_int_equal(w.back, 1);
    assert_int_equal(w.errand.outcome, ERRAND_UNAVAILABLE);
    site_free(s);
}

static void settings_that_are_none_are_refused(void **state)
{
    static const struct {
        const char *urls;
        const char *ca;
        const char *part;
    } rows[] = {{"http://a", "", "redis://"}, {"redis://a,,redis://b", "", ""},
        {"rediss://a", "/nowhere/at/all", "/nowhere/at/all"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct site *s = site_new();
        char error[200] = "";
        struct cluster_settings settings = {
            .urls = rows[i].urls, .ca = rows[i].ca, .shop = &s->shop, .logger = &s->logger};
        assert_int_equal(cluster_open(&s->cluster, &settings, error, sizeof error), -1);
        assert_non_null(strstr(error, rows[i].part));
        assert_true(*error);
        assert_null(s->shop.route.backplane);
        site_free(s);
    }
}

/* Whatever it is in the midst of, each errand comes back once, and nothing is left. */
static void all_that_is_under_way_at_the_end_comes_back(void **state)
{
    enum { EACH = 10, KINDS = 6 };
    static struct sent sent[KINDS][EACH];
    static char names[KINDS][EACH][20];
    (void)state;
    for (unsigned turns = 0; turns < 12; turns++) {
        struct site *s = site_open(redis[0].port);
        struct shard *shard = &s->cluster.shards[0];
        hand_do(hands[0], "FLUSHALL");
        struct registry_topic *topic = site_join(s, 0, "kept:a");
        hand_publish(hands[0], "kept:a", 7, 1000, 1, 10);
        SITE_UNTIL(s, topic->offset == 10);
        unsigned before = s->backs;
        for (unsigned i = 0; i < EACH; i++) {
            snprintf(names[2][i], sizeof *names[2], "t:%u", i);
            snprintf(names[3][i], sizeof *names[3], "t%u:*", i);
            site_publish(s, &sent[0][i], "kept:a", i, 1);
            site_send(s, &sent[1][i],
                (struct errand){.kind = ERRAND_EVENT, .message = numbers(1, 1)}, "kept:a");
            site_send(s, &sent[2][i], (struct errand){.kind = ERRAND_FOLLOW, .watches = i % 2},
                names[2][i]);
            site_send(s, &sent[3][i], (struct errand){.kind = ERRAND_PATTERN, .watches = i % 2},
                names[3][i]);
            site_send(s, &sent[4][i],
                (struct errand){.kind = ERRAND_FETCH, .most = 10, .bytes = 1000}, "kept:a");
            site_send(
                s, &sent[5][i], (struct errand){.kind = ERRAND_ASK, .ask = ASK_PRESENCE}, "kept:a");
        }
        redis_link_pause(shard->subscriber, turns % 3 == 1);
        redis_link_pause(shard->commands, turns % 3 == 2);
        site_turns(s, turns / 2);
        if (turns % 4 == 3) {
            redis_link_break(shard->subscriber, "of the test");
            site_turns(s, turns / 4);
        }
        site_leave(s, 0, topic);
        site_stop(s);
        assert_int_equal(s->backs - before, KINDS * EACH);
        for (unsigned k = 0; k < KINDS; k++) {
            for (unsigned i = 0; i < EACH; i++) {
                assert_int_equal(sent[k][i].back, 1);
                buf_fini(&sent[k][i].errand.found);
            }
        }
        /* And what comes too late is answered as well. */
        site_publish(s, &sent[0][0], "kept:a", 1, 1);
        site_take_mail(s);
        assert_int_equal(sent[0][0].back, 1);
        assert_int_equal(sent[0][0].errand.outcome, ERRAND_UNAVAILABLE);
        site_free(s);
    }
}

static void a_topic_that_settles_at_the_end_is_let_go_of(void **state)
{
    static const enum follow_state states[] = {FOLLOW_AWAY, FOLLOW_SUBSCRIBING, FOLLOW_ASKING,
        FOLLOW_SETTLING, FOLLOW_FETCHING, FOLLOW_LIVE};
    (void)state;
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        struct site *s = site_open(redis[0].port);
        hand_do(hands[0], "FLUSHALL");
        struct registry_topic *topic = site_join(s, 0, "kept:a");
        redis_link_break(s->cluster.shards[0].subscriber, "of the test");
        SITE_UNTIL(s, site_is(s, "kept:a", FOLLOW_AWAY));
        hand_publish(hands[0], "kept:a", 7, 1000, 1, 10);
        SITE_UNTIL(s, site_is(s, "kept:a", states[i]));
        if (states[i] == FOLLOW_ASKING) { /* with something held */
            hand_publish(hands[0], "kept:a", 7, 1000, 11, 10);
            redis_link_pause(s->cluster.shards[0].commands, true);
            SITE_UNTIL(s, s->cluster.held > 0);
        }
        site_leave(s, 0, topic);
        site_close(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_are_spread_the_same_way_by_all_brokers),
        cmocka_unit_test(patterns_hear_of_topics_of_all_servers),
        cmocka_unit_test(one_server_that_is_away_takes_its_own_topics_only),
        cmocka_unit_test(nothing_is_read_for_a_worker_that_is_behind),
        cmocka_unit_test(who_waits_for_room_in_the_mailbox_is_told_when_there_is),
        cmocka_unit_test(other_rules_hold_from_then_on),
        cmocka_unit_test(a_thread_that_never_ran_can_be_taken_apart),
        cmocka_unit_test(settings_that_are_none_are_refused),
        cmocka_unit_test(all_that_is_under_way_at_the_end_comes_back),
        cmocka_unit_test(a_topic_that_settles_at_the_end_is_let_go_of),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
