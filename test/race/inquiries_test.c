/* Questions to the workers under ThreadSanitizer: from threads of their own, while sessions come
 * and go, are sent away, and the broker starts and ends. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/topic_facts.h"
#include "broker/topic_scan.h"
#include "server/server.h"
#include "session/census.h"
#include "session/dismissal.h"
#include "session/outside.h"
#include "session/roll.h"
#include "support/peer.h"
#include "support/tsan.h"

enum { LIVES = 6, CHURNERS = 3, ASKERS = 2, QUESTIONS = 500 };

struct life {
    struct hermes *h;
    _Atomic bool done; /* no more questions */
    _Atomic int asked; /* askers that have asked enough for the broker to end */
    _Atomic int answered;
    _Atomic int faults;
};

struct asker {
    struct life *life;
    unsigned number;
    uv_loop_t loop;
    struct mailbox box;
    struct tray tray;
    uint64_t somebody; /* that was connected lately */
    bool answered;
    pthread_t thread;
};

/* --- whoever comes and goes ------------------------------------------------------------------- */

static bool say(struct peer *p)
{
    return peer_sendf(p, "{\"type\":\"subscribe\",\"topic\":\"t:%d\"}", p->fd % 7) &&
           peer_sendf(p, "{\"topic\":\"t:%d\",\"data\":[1,2,3]}", p->fd % 5);
}

/* Sent away, refused or cut at the end: all of that may be. */
static void *churn(void *user)
{
    struct life *life = user;
    int port = hermes_port(life->h);
    while (!atomic_load(&life->done)) {
        struct peer peer;
        const char *text;
        size_t len;
        if (!peer_open(&peer, port))
            continue;
        if (say(&peer))
            for (int i = 0; i < 3 && peer_next(&peer, &text, &len) == PEER_TEXT; i++)
                ;
        peer_drop(&peer, false);
    }
    return NULL;
}

/* --- whoever asks ----------------------------------------------------------------------------- */

static void nothing(void *user)
{
    (void)user;
}

static void wait_for_answer(struct asker *a)
{
    a->answered = false;
    while (!a->answered) {
        uv_run(&a->loop, UV_RUN_ONCE);
        do {
            mailbox_take(&a->box, &a->tray);
            while (a->tray.at < a->tray.count)
                inquiry_finish(a->tray.mails[a->tray.at++].item);
        } while (!mailbox_sleep(&a->box));
    }
    atomic_fetch_add(&a->life->answered, 1);
}

static void census_done(struct census *c, void *context)
{
    struct asker *a = context;
    a->answered = true;
    if (c->failed || c->count > c->limit || c->total < c->count)
        atomic_fetch_add(&a->life->faults, 1);
    if (c->count > 0)
        a->somebody = c->rows[c->count / 2].client;
    census_free(c);
}

static void dismissal_done(struct dismissal *d, void *context)
{
    struct asker *a = context;
    a->answered = true;
    if (d->count > 1) /* it is one client */
        atomic_fetch_add(&a->life->faults, 1);
    dismissal_free(d);
}

static void roll_done(struct roll *r, void *context)
{
    struct asker *a = context;
    a->answered = true;
    roll_free(r);
}

static void ask(struct asker *a, unsigned what)
{
    struct workshop *shop = &a->life->h->shop;
    struct inquiry *q = NULL;
    const uint64_t *workers = NULL;
    if (what % 3 == 0) {
        struct census *c =
            census_new(shop, &a->box, (enum census_sort)(what / 3 % 6), 5, (struct text){NULL, 0});
        c->done = census_done;
        c->context = a;
        q = &c->inquiry;
    } else if (what % 3 == 1) {
        struct dismissal *d = dismissal_new(
            shop, &a->box, a->somebody, (struct text){NULL, 0}, 4001, TEXT("for the test"));
        d->done = dismissal_done;
        d->context = a;
        q = &d->inquiry;
    } else {
        struct roll *r = roll_new(shop, &a->box, TEXT("t:1"));
        r->done = roll_done;
        r->context = a;
        q = &r->inquiry;
        workers = r->workers;
    }
    inquiry_ask(q, shop, workers);
    wait_for_answer(a);
}

/* What is looked at without asking. */
static void look(struct asker *a, unsigned what)
{
    struct workshop *shop = &a->life->h->shop;
    struct route_result result;
    if (what % 2) {
        struct topic_scan scan;
        topic_scan_begin(&scan, &shop->route.registry, TEXT("t:"));
        while (topic_scan_next(&scan))
            ;
        topic_scan_fini(&scan);
        struct topic_facts facts;
        topic_facts_take(&facts, &shop->route, (struct route_rule){&rule_default, 0}, TEXT("t:2"));
        topic_facts_fini(&facts);
    } else if (!shop_crowded(shop)) {
        shop_publish(shop, TEXT("t:1"), TEXT("\"from outside\""), &result);
    }
}

static void *ask_all(void *user)
{
    struct asker *a = user;
    for (unsigned i = 0; !atomic_load(&a->life->done); i++) {
        ask(a, i + a->number);
        look(a, i);
        if (i == QUESTIONS)
            atomic_fetch_add(&a->life->asked, 1);
    }
    mailbox_close(&a->box);
    uv_run(&a->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void asker_start(struct asker *a, struct life *life, unsigned number)
{
    *a = (struct asker){.life = life, .number = number};
    assert_int_equal(uv_loop_init(&a->loop), 0);
    assert_int_equal(mailbox_open(&a->box, &a->loop, nothing, NULL), 0);
    assert_true(mailbox_sleep(&a->box));
    pthread_create(&a->thread, NULL, ask_all, a);
}

static void asker_join(struct asker *a)
{
    pthread_join(a->thread, NULL);
    tray_fini(&a->tray);
    mailbox_fini(&a->box);
    assert_int_equal(uv_loop_close(&a->loop), 0);
}

/* --- the broker ------------------------------------------------------------------------------- */

static void start(struct life *life)
{
    struct hermes *h = hermes_new();
    assert_non_null(h);
    assert_int_equal(hermes_set(h, "port", "0"), HERMES_OK);
    assert_int_equal(hermes_set(h, "host", "127.0.0.1"), HERMES_OK);
    assert_int_equal(hermes_set(h, "workers", "3"), HERMES_OK);
    assert_int_equal(hermes_set(h, "log-level", "error"), HERMES_OK);
    hermes_set(h, "admin-port", "off"); /* where there is that setting */
    assert_int_equal(hermes_start(h), HERMES_OK);
    life->h = h;
}

/* Every question is answered, also those that are asked while the workers end, and of workers that
 * have ended. */
static void questions_are_answered_while_sessions_and_workers_come_and_go(void **state)
{
    (void)state;
    for (int i = 0; i < LIVES; i++) {
        struct life life = {0};
        struct asker askers[ASKERS];
        pthread_t churners[CHURNERS];
        start(&life);
        for (int k = 0; k < CHURNERS; k++)
            pthread_create(&churners[k], NULL, churn, &life);
        for (unsigned k = 0; k < ASKERS; k++)
            asker_start(&askers[k], &life, k);
        while (atomic_load(&life.asked) < ASKERS)
            sched_yield();
        hermes_stop(life.h);
        int before = atomic_load(&life.answered);
        while (atomic_load(&life.answered) < before + 20) /* of nobody any more */
            sched_yield();
        atomic_store(&life.done, true);
        for (int k = 0; k < ASKERS; k++)
            asker_join(&askers[k]);
        for (int k = 0; k < CHURNERS; k++)
            pthread_join(churners[k], NULL);
        assert_int_equal(atomic_load(&life.faults), 0);
        hermes_free(life.h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_are_answered_while_sessions_and_workers_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
