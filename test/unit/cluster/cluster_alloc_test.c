/* The cluster thread without memory: each allocation fails once while topics become live, messages
 * come and a link breaks. Errands come back, and whoever subscribes is given what came or is told
 * that it is missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/cluster_harness.h"
#include "support/failing_alloc.h"
#include "support/real_redis.h"
#include "support/redis_hand.h"

enum { ROOM = 300 };

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

/* Allocations of the cluster thread that are left until one fails; 0: none will, or one has. */
static unsigned left;

static void turn(struct site *s)
{
    alloc_fail(left);
    uv_run(&s->cluster.loop, UV_RUN_ONCE);
    if (left > 0)
        left -= allocations.calls < left ? allocations.calls : left;
    allocations.fail_at = 0;
    site_take_mail(s);
}

#define UNTIL(site, condition)                                                                     \
    do {                                                                                           \
        uint64_t end_ = clock_ms() + SITE_PATIENCE_MS;                                             \
        while (!(condition) && clock_ms() < end_)                                                  \
            turn(site);                                                                            \
        assert_true(condition);                                                                    \
    } while (0)

/* Mailboxes have no answer to that and end the process; so they have room before. */
static void make_room(struct mailbox *box, struct tray *tray)
{
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < ROOM; i++)
            assert_true(mailbox_post(box, (struct mail){.kind = MAIL_RESUME}));
        mailbox_take(box, tray);
        tray->at = tray->count;
    }
}

static void make_rooms(struct site *s)
{
    for (int i = 0; i < SITE_WORKERS; i++)
        make_room(&s->boxes[i], &s->trays[i]);
    make_room(&s->home, &s->home_tray);
    make_room(&s->cluster.box, &s->cluster.tray);
}

/* Goes on at `*next`, as numbers or as gaps. */
static void judge(struct site *s, unsigned worker, uint64_t *next, unsigned at)
{
    struct buf *journal = &s->journals[worker];
    buf_append(journal, "", 1);
    for (char *rest = journal->data, *word; (word = strsep(&rest, " ")) != NULL;) {
        uint64_t from = strtoull(word + (*word == '['), NULL, 10);
        const char *to = strchr(word, '-');
        if (!*word)
            continue;
        if (from != *next)
            fail_msg("allocation %u: '%s' is not %llu", at, word, (unsigned long long)*next);
        *next = 1 + (to ? strtoull(to + 1, NULL, 10) : from);
    }
    journal->len = 0;
}

static bool is_at(struct site *s, const char *name, struct registry_topic *topic, uint64_t offset)
{
    return topic->offset == offset && site_is(s, name, FOLLOW_LIVE);
}

/* False when there were not so many allocations. */
static bool run(unsigned at)
{
    static const char *const names[] = {"kept:a", "a"};
    struct registry_topic *topics[2];
    uint64_t next[2] = {1, 1};
    struct sent follow, pattern, publish[2];
    hand_do(hand, "FLUSHALL");
    struct site *s = site_open(redis.port);
    make_rooms(s);
    for (unsigned i = 0; i < 2; i++)
        topics[i] = site_join(s, i, names[i]);
    left = at;
    site_send(s, &follow, (struct errand){.kind = ERRAND_FOLLOW, .watches = true}, "b");
    site_send(s, &pattern, (struct errand){.kind = ERRAND_PATTERN, .watches = true}, "c:*");
    for (unsigned i = 0; i < 2; i++)
        site_publish(s, &publish[i], names[i], 1, 1);
    UNTIL(s, follow.back && pattern.back && publish[0].back && publish[1].back);
    uint64_t offset[2];
    for (unsigned i = 0; i < 2; i++) /* a publish may have been refused */
        offset[i] = hand_publish(hand, names[i], 7, i ? 0 : 1000, i, 0).offset;
    for (unsigned i = 0; i < 2; i++) {
        offset[i] = hand_publish(hand, names[i], 7, i ? 0 : 1000, offset[i] + 1, 2).offset;
        UNTIL(s, is_at(s, names[i], topics[i], offset[i]));
    }
    redis_link_break(s->cluster.shards[0].subscriber, "of the test");
    UNTIL(s, site_is(s, "a", FOLLOW_AWAY));
    for (unsigned i = 0; i < 2; i++)
        offset[i] = hand_publish(hand, names[i], 7, i ? 0 : 1000, offset[i] + 1, 3).offset;
    UNTIL(s, site_is(s, "kept:a", FOLLOW_ASKING));
    for (unsigned i = 0; i < 2; i++)
        offset[i] = hand_publish(hand, names[i], 7, i ? 0 : 1000, offset[i] + 1, 1).offset;
    for (unsigned i = 0; i < 2; i++)
        UNTIL(s, is_at(s, names[i], topics[i], offset[i]));
    bool done = left > 0;
    left = 0;
    for (unsigned i = 0; i < 2; i++) {
        offset[i] = hand_publish(hand, names[i], 7, i ? 0 : 1000, offset[i] + 1, 1).offset;
        SITE_UNTIL(s, is_at(s, names[i], topics[i], offset[i]));
        site_turns(s, 1);
        judge(s, i, &next[i], at);
        if (next[i] != offset[i] + 1)
            fail_msg("allocation %u: %s ends at %llu", at, names[i], (unsigned long long)next[i]);
        site_leave(s, i, topics[i]);
    }
    site_follow(s, "b");
    site_close(s);
    return !done;
}

static void whatever_there_is_no_memory_for_nothing_is_lost_in_silence(void **state)
{
    unsigned at = 1;
    (void)state;
    while (run(at))
        at++;
    assert_true(at > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_there_is_no_memory_for_nothing_is_lost_in_silence),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
