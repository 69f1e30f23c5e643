/* A cluster thread under ThreadSanitizer: workers subscribe by name and by pattern, leave and come
 * again, others publish through Redis, and the connections are cut all the while. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/cluster_harness.h"
#include "support/random.h"
#include "support/real_redis.h"
#include "support/redis_hand.h"
#include "support/tsan.h"

enum { TOPICS = 6, PUBLISHES = 1500, CUTS = 12 };

static const char *const topics[TOPICS] = {"kept:a", "kept:b", "kept:c:d", "a", "b", "c:d"};

/* One thread that has a mailbox of its own for what comes to it, messages and errands. */
struct actor {
    struct site *site;
    unsigned number;
    pthread_t thread;
    struct random random;
    struct registry_topic *joined[TOPICS];
    uint64_t last[TOPICS];
    struct sent wishes[TOPICS];
    bool wished[TOPICS];
    struct pattern *pattern;
    struct sent pattern_wish;
    bool pattern_wished;
    uint64_t heard;
    uint64_t told; /* notices */
};

static _Atomic bool over;
static _Atomic bool whole; /* nothing is cut any more */
static _Atomic int faults;
static _Atomic uint64_t done, refused;

static void errand_back(struct errand *e)
{
    LIST_ITEM(e, struct sent, errand)->back++;
}

static void send_errand(struct actor *a, struct sent *w, struct errand e, const char *name)
{
    *w = (struct sent){.errand = e};
    w->errand.home = &a->site->boxes[a->number];
    w->errand.done = errand_back;
    w->errand.lost = errand_back;
    w->errand.name = text_of(name);
    w->errand.hash = registry_hash(&a->site->shop.route.registry, w->errand.name);
    w->errand.weight = 100;
    backplane_send(&a->site->shop.route, &w->errand);
}

/* What comes of a topic that it subscribes to has no hole, but where it is told of one. */
static void take_message(struct actor *a, const struct message *m)
{
    for (unsigned i = 0; i < TOPICS; i++) {
        if (!a->joined[i] || m->topic != a->joined[i] ||
            (m->count == 0 && m->event == EVENT_PRESENCE))
            continue;
        if (m->count == 0) {
            a->last[i] = site_number(m, "\"to\":");
            a->told++;
            continue;
        }
        if (m->offset != a->last[i] + 1)
            atomic_fetch_add(&faults, 1);
        a->last[i] = m->offset + m->count - 1;
        a->heard += m->count;
    }
}

static void deliver(struct actor *a)
{
    struct tray *tray = &a->site->trays[a->number];
    while (tray->at < tray->count) {
        struct mail mail = tray->mails[tray->at++];
        if (mail.kind == MAIL_ERRAND) {
            errand_finish(mail.item);
        } else if (mail.kind == MAIL_MESSAGE) {
            take_message(a, mail.item);
            message_drop(mail.item);
        }
        mailbox_done(&a->site->boxes[a->number], mail.weight);
    }
}

static void take_mail(struct actor *a)
{
    mailbox_take(&a->site->boxes[a->number], &a->site->trays[a->number]);
    deliver(a);
}

static void leave(struct actor *a, unsigned i)
{
    route_unsubscribe(&a->site->shop.route, a->number, a->joined[i], true, false);
    a->joined[i] = NULL;
}

static void join(struct actor *a, unsigned i)
{
    struct text name = text_of(topics[i]);
    struct rule kept = rule_keeping(1000);
    struct route_rule rule = {i < 3 ? &kept : &rule_default, 1};
    struct route_joined joined =
        route_subscribe(&a->site->shop.route, rule, a->number, &a->site->trays[a->number],
            registry_hash(&a->site->shop.route.registry, name), name, false, NULL);
    deliver(a);
    a->joined[i] = joined.topic;
    a->last[i] = joined.offset;
}

static void come_or_go(struct actor *a, unsigned i)
{
    if (a->joined[i]) {
        take_mail(a);
        leave(a, i);
    } else if (!a->wished[i]) {
        a->wished[i] = true;
        send_errand(a, &a->wishes[i],
            (struct errand){.kind = ERRAND_FOLLOW, .watches = a->number == 1}, topics[i]);
    }
}

static void leave_pattern(struct actor *a)
{
    patterns_leave(&a->site->shop.route.patterns, a->pattern, a->number, true, false);
    a->pattern = NULL;
}

static void come_or_go_by_pattern(struct actor *a)
{
    if (a->pattern) {
        leave_pattern(a);
    } else if (!a->pattern_wished) {
        a->pattern_wished = true;
        send_errand(a, &a->pattern_wish, (struct errand){.kind = ERRAND_PATTERN}, "kept:*");
    }
}

static void take_wishes(struct actor *a)
{
    for (unsigned i = 0; i < TOPICS; i++) {
        if (!a->wished[i] || a->wishes[i].back == 0)
            continue;
        a->wished[i] = false;
        if (a->wishes[i].errand.outcome == ERRAND_DONE)
            join(a, i);
    }
    if (!a->pattern_wished || a->pattern_wish.back == 0)
        return;
    a->pattern_wished = false;
    if (a->pattern_wish.errand.outcome != ERRAND_DONE)
        return;
    struct text name = TEXT("kept:*");
    uint64_t hash = registry_hash(&a->site->shop.route.registry, name);
    a->pattern = patterns_join(&a->site->shop.route.patterns, hash, name, a->number, false);
}

static bool waits(const struct actor *a)
{
    bool waiting = a->pattern_wished;
    for (unsigned i = 0; i < TOPICS; i++)
        waiting |= a->wished[i];
    return waiting;
}

static void *subscribe(void *user)
{
    struct actor *a = user;
    while (!atomic_load(&over)) {
        if (random_below(&a->random, 4) == 0)
            come_or_go(a, (unsigned)random_below(&a->random, TOPICS));
        if (random_below(&a->random, 40) == 0)
            come_or_go_by_pattern(a);
        take_mail(a);
        take_wishes(a);
        usleep(200);
    }
    while (waits(a)) {
        take_mail(a);
        take_wishes(a);
        usleep(1000);
    }
    for (unsigned i = 0; i < TOPICS; i++)
        if (a->joined[i])
            leave(a, i);
    if (a->pattern)
        leave_pattern(a);
    return NULL;
}

/* Worker 2: it publishes, one after the other, and waits when its box is full. */
static void *publish(void *user)
{
    enum { ROW = 8 };
    struct actor *a = user;
    static struct sent sent[ROW];
    uint64_t number = 1;
    for (unsigned n = 0; n < PUBLISHES / ROW || !atomic_load(&whole); n++) {
        for (unsigned i = 0; i < ROW; i++) {
            unsigned topic = (unsigned)random_below(&a->random, TOPICS);
            uint32_t count = 1 + (uint32_t)random_below(&a->random, 3);
            struct history_limits limits = {.messages = topic < 3 ? 1000 : 0};
            send_errand(a, &sent[i],
                (struct errand){.kind = i % 5 == 4 ? ERRAND_EVENT : ERRAND_PUBLISH,
                    .message = numbers(number, count),
                    .limits = limits},
                topics[topic]);
            number += count;
        }
        for (unsigned i = 0; i < ROW; i++) {
            while (sent[i].back == 0) {
                take_mail(a);
                usleep(100);
            }
            atomic_fetch_add(sent[i].errand.outcome == ERRAND_DONE ? &done : &refused, 1);
        }
        if (sent[0].errand.outcome != ERRAND_DONE)
            usleep(10000); /* the server is away: this is not about being refused */
    }
    return NULL;
}

struct cutter {
    struct hand *hand;
    pthread_t thread;
};

static void *cut(void *user)
{
    struct cutter *c = user;
    int64_t id = hand_number(c->hand, "CLIENT ID");
    for (unsigned i = 0; i < CUTS; i++) {
        hand_kill(c->hand, i % 2, &id, 1);
        if (i % 5 == 4)
            hand_do(c->hand, "DEL hermes:t:a hermes:t:kept:b hermes:h:kept:b");
        usleep(100000);
    }
    atomic_store(&whole, true);
    return NULL;
}

/* Broken by an errand that is touched after it was given back, by a topic that is touched without
 * its stripe, and by giving again what is known: fails. */
static void threads_go_through_breaks_together(void **state)
{
    struct real_redis redis;
    struct actor actors[SITE_WORKERS];
    struct cutter cutter;
    (void)state;
    real_redis_open(&redis);
    real_redis_start(&redis, NULL);
    cutter.hand = hand_open(redis.port);
    struct site *s = site_open(redis.port);
    s->shop.route.crowded = 20000;
    assert_int_equal(cluster_start(&s->cluster), 0);
    for (unsigned i = 0; i < SITE_WORKERS; i++) {
        actors[i] = (struct actor){.site = s, .number = i, .random = {i + 1}};
        pthread_create(&actors[i].thread, NULL, i == 2 ? publish : subscribe, &actors[i]);
    }
    pthread_create(&cutter.thread, NULL, cut, &cutter);
    pthread_join(actors[2].thread, NULL);
    atomic_store(&over, true);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(actors[i].thread, NULL);
    pthread_join(cutter.thread, NULL);
    cluster_stop(&s->cluster);
    cluster_join(&s->cluster);
    cluster_fini(&s->cluster);
    for (unsigned i = 0; i < SITE_WORKERS; i++)
        take_mail(&actors[i]);
    print_message("%llu publishes, %llu refused; heard %llu and %llu, %llu and %llu notices\n",
        (unsigned long long)atomic_load(&done), (unsigned long long)atomic_load(&refused),
        (unsigned long long)actors[0].heard, (unsigned long long)actors[1].heard,
        (unsigned long long)actors[0].told, (unsigned long long)actors[1].told);
    assert_int_equal(atomic_load(&faults), 0);
    assert_true(actors[0].heard > 0 && actors[1].heard > 0 && atomic_load(&done) > 0);
    site_free(s);
    hand_close(cutter.hand);
    real_redis_close(&redis);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_go_through_breaks_together)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
