/* Recovery under ThreadSanitizer: workers subscribe, leave and come back for what they have missed,
 * while others publish and patterns come and go. Every offset has to come, once and in order. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/random.h"
#include "support/route_harness.h"

enum {
    PUBLISHERS = 2,
    ROWS = 20000, /* of each publisher; 1 to 4 messages a row */
    COMERS = 3,   /* workers 0 to COMERS-1, by the topic's name */
    MATCHERS = 2, /* the workers behind them, by pattern */
    KEPT = 3000,
};

static const struct text T = {"stock:A", 7};

struct world {
    struct scene *scene;
    struct rule rule;
    struct route_rule by;
    _Atomic unsigned publishing;
    _Atomic uint64_t published; /* messages */
    _Atomic int faults;
};

struct actor {
    struct world *world;
    unsigned number;
    pthread_t thread;
    unsigned cycles;
    unsigned recovered; /* with something missed */
    uint64_t missed;    /* messages that were replayed */
    uint64_t heard;
};

static void *publish_all(void *user)
{
    struct actor *me = user;
    struct world *w = me->world;
    struct random r = {me->number + 100};
    for (int i = 0; i < ROWS; i++) {
        uint32_t count = 1 + (uint32_t)random_below(&r, 4);
        struct message *m = message_begin(8 * count);
        for (uint32_t k = 0; k < count; k++, m->len += 3, m->count++)
            memcpy(m->frames + m->len, "\x81\x01x", 3);
        struct route_result result =
            route_publish(&w->scene->route, w->by, hash_of(w->scene, T), T, m);
        if (result.failed || result.offset == 0)
            atomic_fetch_add(&w->faults, 1);
        atomic_fetch_add(&w->published, count);
        if (i % 4 == 0)
            sched_yield();
    }
    atomic_fetch_sub(&w->publishing, 1);
    return NULL;
}

/* Works off the tray: what comes goes on behind `last` (0: wherever). Returns the last offset. */
static uint64_t follow(struct actor *me, uint64_t last)
{
    struct scene *s = me->world->scene;
    struct tray *tray = &s->trays[me->number];
    for (; tray->at < tray->count; tray->at++) {
        struct message *m = tray->mails[tray->at].item;
        if (last != 0 && m->offset != last + 1)
            atomic_fetch_add(&me->world->faults, 1);
        last = m->offset + m->count - 1;
        me->heard += m->count;
        mailbox_done(&s->boxes[me->number], tray->mails[tray->at].weight);
        message_drop(m);
    }
    return last;
}

static uint64_t replay(struct actor *me, struct route_joined *joined, uint64_t last)
{
    uint64_t offset;
    struct text data;
    while (history_view_next(&joined->past, &offset, &data)) {
        if (offset != ++last || !text_equal(data, TEXT("x")))
            atomic_fetch_add(&me->world->faults, 1);
        me->missed++;
    }
    if (joined->recovered && last != joined->offset)
        atomic_fetch_add(&me->world->faults, 1);
    history_view_fini(&joined->past);
    return joined->offset;
}

static void take(struct actor *me)
{
    struct scene *s = me->world->scene;
    mailbox_take(&s->boxes[me->number], &s->trays[me->number]);
}

/* One visit that begins behind `last`. */
static uint64_t visit(struct actor *me, uint64_t epoch, uint64_t last, unsigned rounds)
{
    struct world *w = me->world;
    struct scene *s = w->scene;
    struct route_past past = {.since = true, .epoch = epoch, .offset = last};
    struct route_joined joined = route_subscribe(
        &s->route, w->by, me->number, &s->trays[me->number], hash_of(s, T), T, false, &past);
    if (!joined.topic || joined.epoch != epoch || follow(me, last) != last)
        atomic_fetch_add(&w->faults, 1); /* it had no interest: nothing is in the tray */
    me->recovered += joined.recovered && joined.offset > last;
    last = replay(me, &joined, joined.recovered ? last : joined.offset);
    for (unsigned i = 0; i < rounds; i++) {
        take(me);
        last = follow(me, last);
        sched_yield();
    }
    route_unsubscribe(&s->route, me->number, joined.topic, true, false);
    take(me);
    me->cycles++;
    return follow(me, last);
}

static void *come_and_go(void *user)
{
    struct actor *me = user;
    struct world *w = me->world;
    struct random r = {me->number};
    uint64_t epoch = topic_of(w->scene, T)->epoch;
    uint64_t last = 1;
    bool over;
    do {
        over = atomic_load(&w->publishing) == 0;
        last = visit(me, epoch, last, (unsigned)random_below(&r, 4));
        for (uint64_t i = random_below(&r, 6); i > 0; i--)
            sched_yield();
    } while (!over);
    if (last != atomic_load(&w->published))
        atomic_fetch_add(&w->faults, 1);
    return NULL;
}

/* Mail of before: a publish that had begun before the pattern left may come behind
 * others that did not. */
static void ignore(struct actor *me)
{
    struct scene *s = me->world->scene;
    struct tray *tray = &s->trays[me->number];
    for (; tray->at < tray->count; tray->at++) {
        mailbox_done(&s->boxes[me->number], tray->mails[tray->at].weight);
        message_drop(tray->mails[tray->at].item);
    }
}

/* By pattern: what it hears between its coming and its going has no gap. */
static void *match_and_go(void *user)
{
    struct actor *me = user;
    struct world *w = me->world;
    struct scene *s = w->scene;
    struct random r = {me->number};
    const struct text names[] = {TEXT("stock:*"), TEXT(">")};
    const struct text name = names[me->number % 2];
    while (atomic_load(&w->publishing) > 0) {
        struct pattern *pattern =
            patterns_join(&s->route.patterns, hash_of(s, name), name, me->number, false);
        if (!pattern)
            abort();
        take(me);
        ignore(me);
        uint64_t last = 0;
        for (uint64_t i = random_below(&r, 8); i > 0; i--) {
            take(me);
            last = follow(me, last);
            sched_yield();
        }
        patterns_leave(&s->route.patterns, pattern, me->number, true, false);
        me->cycles++;
    }
    take(me);
    ignore(me);
    return NULL;
}

/* Broken by a view that is taken after the stripe was given back, by mail that is taken after it,
 * and by an answer of the patterns' index that is used though another came since: fails. */
static void whoever_comes_back_gets_every_message_once(void **state)
{
    struct world w = {.scene = scene_open(COMERS + MATCHERS), .publishing = PUBLISHERS};
    struct actor actors[COMERS + MATCHERS + PUBLISHERS];
    (void)state;
    w.rule = rule_keeping(KEPT);
    w.by = (struct route_rule){&w.rule, 1};
    publish_by(w.scene, w.by, T, 1, 1); /* so that there is an epoch */
    atomic_store(&w.published, 1);
    for (unsigned i = 0; i < COMERS + MATCHERS + PUBLISHERS; i++) {
        actors[i] = (struct actor){.world = &w, .number = i};
        void *(*deed)(void *) = i < COMERS              ? come_and_go
                                : i < COMERS + MATCHERS ? match_and_go
                                                        : publish_all;
        assert_int_equal(pthread_create(&actors[i].thread, NULL, deed, &actors[i]), 0);
    }
    for (unsigned i = 0; i < COMERS + MATCHERS + PUBLISHERS; i++)
        pthread_join(actors[i].thread, NULL);
    assert_int_equal(atomic_load(&w.faults), 0);
    for (unsigned i = 0; i < COMERS + MATCHERS; i++) {
        print_message("%u visits, %u of them recovered, %llu messages replayed, %llu live\n",
            actors[i].cycles, actors[i].recovered, (unsigned long long)actors[i].missed,
            (unsigned long long)actors[i].heard);
        assert_true(actors[i].cycles > 0);
    }
    drain_all(w.scene);
    scene_close(w.scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_comes_back_gets_every_message_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
