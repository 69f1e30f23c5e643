/* Some brokers in one thread, with a real Redis between: of each the workers (support/
 * worker_harness.h) and what the cluster thread has for questions, nodes and counts. The test turns
 * them.
 *
 * Order: company_open, company_close. Include worker_harness.h before this. */
#ifndef HERMES_TEST_COMPANY_H
#define HERMES_TEST_COMPANY_H

#include "base/clock.h"
#include "cluster/ask.h"
#include "cluster/counts.h"
#include "cluster/redis_link.h"
#include "cluster/redis_url.h"
#include "session/inquiry.h"
#include "support/real_redis.h"

enum { COMPANY_MOST = 3, COMPANY_PATIENCE_MS = 30000 };

struct fellow {
    struct company *company;
    struct rig rig;
    uv_loop_t loop;
    struct mailbox box;
    struct tray tray;
    struct redis_url *url;
    struct redis_link *commands;
    struct redis_link *subscriber;
    struct nodes nodes;
    struct ask ask;
    struct counts counts;
    unsigned joined; /* calls of nodes_settings.changed */
    unsigned gone;
    bool hangs; /* is not turned */
    bool closed;
};

struct company {
    struct real_redis redis;
    unsigned count;
    struct fellow fellows[COMPANY_MOST];
};

/* An errand of a test's. */
struct asking {
    struct errand errand;
    unsigned back;
};

static inline void fellow_done(struct errand *e, void *user)
{
    (void)user;
    LIST_ITEM(e, struct asking, errand)->back++;
}

static inline void fellow_changed(uint64_t node, bool here, void *user)
{
    struct fellow *f = user;
    f->joined += here;
    f->gone += !here;
    ask_node(&f->ask, node, here);
}

static inline void fellow_up(struct redis_link *l, void *user)
{
    struct fellow *f = user;
    struct node_text id = node_text(f->nodes.settings.id);
    if (l == f->subscriber) {
        redis_begin(l, 3);
        redis_arg(l, TEXT("SUBSCRIBE"));
        redis_arg(l, TEXT(ASK_CHANNEL_ALL));
        redis_arg_begin(l, sizeof ASK_CHANNEL_NODE - 1 + sizeof id.digits);
        redis_arg_piece(l, TEXT(ASK_CHANNEL_NODE));
        redis_arg_piece(l, (struct text){id.digits, sizeof id.digits});
        assert_true(redis_send(l, NULL, NULL));
    } else if (redis_link_is_up(f->subscriber)) {
        nodes_up(&f->nodes);
    }
}

static inline void fellow_down(struct redis_link *l, const char *reason, void *user)
{
    (void)l;
    (void)reason;
    (void)user;
}

static inline void fellow_message(
    struct redis_link *l, struct text channel, struct text payload, void *user)
{
    struct fellow *f = user;
    (void)l;
    (void)channel;
    ask_message(&f->ask, payload);
}

static inline void fellow_subscribed(
    struct redis_link *l, struct text channel, bool yes, void *user)
{
    struct fellow *f = user;
    (void)l;
    (void)yes;
    if (!text_equal(channel, TEXT(ASK_CHANNEL_ALL)) && redis_link_is_up(f->commands))
        nodes_up(&f->nodes);
}

static inline void fellow_rang(void *user)
{
    (void)user;
}

static inline struct redis_link *fellow_link(struct fellow *f, bool subscribes)
{
    static const struct redis_link_events events = {.up = fellow_up,
        .down = fellow_down,
        .message = fellow_message,
        .subscribed = fellow_subscribed};
    static const char *const scripts[] = {nodes_script, counts_script, NULL};
    static const char *const none[] = {NULL};
    struct redis_link_settings settings = {.url = f->url,
        .subscribes = subscribes,
        .silence_ms = 5000,
        .most_unsent = 64 << 20,
        .most_waiting = 100000,
        .scripts = subscribes ? none : scripts,
        .events = &events,
        .logger = &f->rig.logger,
        .user = f};
    struct redis_link *l = redis_link_new(&f->loop, &settings);
    assert_non_null(l);
    return l;
}

static inline void fellow_open(struct company *c, struct fellow *f, uint64_t id)
{
    char text[64], error[200];
    memset(f, 0, sizeof *f);
    f->company = c;
    rig_open(&f->rig, RIG_WORKERS, rig_limits());
    f->rig.shop.client_key = id << 40; /* so that ids of clients differ */
    snprintf(text, sizeof text, "redis://127.0.0.1:%u", c->redis.port);
    assert_int_equal(redis_urls_read(text, &f->url, error, sizeof error), 1);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(mailbox_open(&f->box, &f->loop, fellow_rang, f), 0);
    f->commands = fellow_link(f, false);
    f->subscriber = fellow_link(f, true);
    nodes_init(&f->nodes, &(struct nodes_settings){.loop = &f->loop,
                              .link = f->commands,
                              .script = 0,
                              .id = id,
                              .logger = &f->rig.logger,
                              .changed = fellow_changed,
                              .user = f});
    ask_init(&f->ask, &(struct ask_settings){.loop = &f->loop,
                          .shop = &f->rig.shop,
                          .home = &f->box,
                          .link = f->commands,
                          .nodes = &f->nodes,
                          .logger = &f->rig.logger,
                          .done = fellow_done});
    counts_init(
        &f->counts, &(struct counts_settings){.loop = &f->loop, .script = 1, .nodes = &f->nodes});
}

static inline void fellow_turn(struct fellow *f)
{
    if (f->hangs || f->closed)
        return;
    uv_run(&f->loop, UV_RUN_NOWAIT);
    for (mailbox_take(&f->box, &f->tray); f->tray.at < f->tray.count;) {
        struct mail mail = f->tray.mails[f->tray.at++];
        assert_int_equal(mail.kind, MAIL_INQUIRY);
        inquiry_finish(mail.item);
    }
    redis_link_flush(f->commands);
    rig_turn(&f->rig);
}

static inline void company_turn(struct company *c)
{
    for (unsigned i = 0; i < c->count; i++)
        fellow_turn(&c->fellows[i]);
}

/* Turns all until it is so. */
#define COMPANY_UNTIL(company, condition)                                                          \
    do {                                                                                           \
        uint64_t end_ = clock_ms() + COMPANY_PATIENCE_MS;                                          \
        while (!(condition) && clock_ms() < end_)                                                  \
            company_turn(company);                                                                 \
        assert_true(condition);                                                                    \
    } while (0)

/* In order; what it has asked is given back. */
static inline void fellow_close(struct fellow *f)
{
    if (f->closed)
        return;
    f->hangs = false;
    ask_stop(&f->ask);
    nodes_close(&f->nodes);
    COMPANY_UNTIL(f->company, ask_is_idle(&f->ask));
    mailbox_close(&f->box);
    redis_link_close(f->commands);
    redis_link_close(f->subscriber);
    ask_close(&f->ask);
    counts_close(&f->counts);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    ask_fini(&f->ask);
    nodes_fini(&f->nodes);
    counts_fini(&f->counts);
    tray_fini(&f->tray);
    mailbox_fini(&f->box);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    redis_urls_free(f->url, 1);
    rig_close(&f->rig);
    f->closed = true;
}

static inline bool company_is_whole(struct company *c)
{
    for (unsigned i = 0; i < c->count; i++)
        if (!nodes_known(&c->fellows[i].nodes) || nodes_count(&c->fellows[i].nodes) != c->count)
            return false;
    return true;
}

/* All know each other. The n-th has id n + 1. */
static inline void company_open(struct company *c, unsigned count)
{
    real_redis_open(&c->redis);
    real_redis_start(&c->redis, NULL);
    c->count = count;
    for (unsigned i = 0; i < count; i++)
        fellow_open(c, &c->fellows[i], i + 1);
    COMPANY_UNTIL(c, company_is_whole(c));
}

static inline void company_close(struct company *c)
{
    for (unsigned i = 0; i < c->count; i++)
        fellow_close(&c->fellows[i]);
    real_redis_close(&c->redis);
}

/* --- questions -------------------------------------------------------------------------------- */

static inline void asking_send(struct fellow *f, struct asking *w, struct errand errand)
{
    *w = (struct asking){.errand = errand};
    w->errand.kind = ERRAND_ASK;
    ask_begin(&f->ask, &w->errand);
}

static inline void asking_fini(struct asking *w)
{
    assert_int_equal(w->back, 1);
    buf_fini(&w->errand.found);
}

#endif
