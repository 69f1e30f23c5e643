/* Joins and leaves between brokers: to whoever watches, each once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "cluster/people.h"
#include "support/cluster_harness.h"
#include "support/real_redis.h"
#include "support/redis_hand.h"

enum { HEARD_MOST = 4096 }; /* as in people.c */

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

static void tell(struct site *s, const char *topic, uint64_t number)
{
    struct sent w;
    struct message *m = numbers(number, 1);
    m->count = 0;
    m->event = EVENT_PRESENCE;
    site_send(s, &w, (struct errand){.kind = ERRAND_EVENT, .message = m}, topic);
    site_wait(s, &w, ERRAND_DONE);
}

static void watch(struct site *s, enum errand_kind kind, const char *name)
{
    struct sent w;
    site_send(s, &w, (struct errand){.kind = kind, .watches = true}, name);
    site_wait(s, &w, ERRAND_DONE);
}

/* Broken by giving what comes as it comes: there are three channels. */
static void an_event_comes_once_though_it_comes_by_three_channels(void **state)
{
    struct site *s = site_open(redis.port), *other = site_open(redis.port);
    (void)state;
    watch(s, ERRAND_FOLLOW, "a:b");
    watch(s, ERRAND_PATTERN, "a:*");
    watch(s, ERRAND_PATTERN, ">");
    struct registry_topic *topic = site_join(s, 0, "a:b");
    struct pattern *p = site_match(s, 1, "a:*"), *all = site_match(s, 2, ">");
    for (unsigned i = 1; i <= 3; i++) {
        tell(other, "a:b", i);
        tell(s, "a:b", 10 + i); /* its own come the same way */
        tell(other, "b:c", 20 + i);
    }
    SITE_UNTIL(s, s->journals[2].len >= 3 * 4 + 6 * 5);
    struct buf *heard = s->journals;
    assert_int_equal(heard[0].len, 3 * 4 + 3 * 5);
    assert_int_equal(heard[1].len, 3 * 4 + 3 * 5);
    assert_int_equal(heard[2].len, 3 * 4 + 6 * 5);
    for (int i = 0; i < 3; i++) {
        buf_append(&heard[i], "", 1);
        for (unsigned k = 1; k <= 3; k++) {
            char event[10];
            snprintf(event, sizeof event, "<%u> ", k);
            const char *first = strstr(heard[i].data, event);
            assert_non_null(first);
            assert_null(strstr(first + 1, event));
        }
    }
    site_leave(s, 0, topic);
    site_leave_pattern(s, 1, p);
    site_leave_pattern(s, 2, all);
    site_close(other);
    site_close(s);
}

static void each_channel_alone_brings_it(void **state)
{
    static const struct {
        enum errand_kind kind;
        const char *name;
    } rows[] = {{ERRAND_FOLLOW, "a:b"}, {ERRAND_PATTERN, "a:*"}, {ERRAND_PATTERN, ">"}};
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct site *s = site_open(redis.port);
        watch(s, rows[i].kind, rows[i].name);
        struct registry_topic *topic = i ? NULL : site_join(s, 0, "a:b");
        struct pattern *p = i ? site_match(s, 0, rows[i].name) : NULL;
        tell(s, "a:b", 5);
        SITE_UNTIL(s, s->journals[0].len > 0);
        tell(s, "a:b", 6);
        SITE_UNTIL(s, s->journals[0].len > 4);
        site_heard(s, 0, "<5> <6> ");
        if (topic)
            site_leave(s, 0, topic);
        if (p)
            site_leave_pattern(s, 0, p);
        site_close(s);
    }
}

/* What comes by the channels, without them. */
static void come(struct site *s, uint64_t node, uint64_t number)
{
    char frame[] = "\x81\x01x";
    struct payload p = {.kind = PAYLOAD_EVENT,
        .epoch = node,
        .offset = number,
        .topic = TEXT("a"),
        .frames = {frame, 3}};
    people_event(&s->cluster.shards[0], &p);
    site_take_mail(s);
}

static void events_of_each_broker_are_told_apart_however_many_there_are(void **state)
{
    struct site *s = site_open(redis.port);
    (void)state;
    struct registry_topic *topic = site_join(s, 0, "a");
    come(s, 1, 5);
    come(s, 1, 5);
    come(s, 1, 4);
    come(s, 2, 5);
    come(s, 1, 6);
    site_heard(s, 0, "<x> <x> <x> ");
    for (uint64_t node = 3; node <= HEARD_MOST; node++)
        come(s, node, 1);
    s->journals[0].len = 0;
    come(s, 1, 6);
    site_heard(s, 0, "");
    come(s, HEARD_MOST + 1, 1); /* all are forgotten: one thing may be told twice */
    come(s, 1, 6);
    come(s, 1, 6);
    site_heard(s, 0, "<x> <x> ");
    assert_int_equal(s->cluster.shards[0].heard.count, 2);
    site_leave(s, 0, topic);
    site_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_comes_once_though_it_comes_by_three_channels),
        cmocka_unit_test(each_channel_alone_brings_it),
        cmocka_unit_test(events_of_each_broker_are_told_apart_however_many_there_are),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
