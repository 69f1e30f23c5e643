#include "cluster/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/hash.h"
#include "cluster/follow.h"
#include "cluster/people.h"
#include "cluster/redis_url.h"
#include "cluster/scripts.h"
#include "net/tls_client.h"
#include "net/tls_files.h"
#include "session/inquiry.h"

enum { TICK_MS = 100 };

/* --- what the parts need ---------------------------------------------------------------------- */

/* The same on all brokers, so it is not keyed: who chooses names may choose the server. */
struct shard *cluster_shard(struct cluster *c, struct text topic)
{
    static const struct hash_key key = {0, 0};
    if (c->shard_count == 1)
        return &c->shards[0];
    return &c->shards[hash_bytes(key, topic.at, topic.len) % c->shard_count];
}

struct epoch_argument cluster_epoch(const struct shard *s)
{
    /* An odd factor maps no two numbers to one. */
    struct cluster *c = s->cluster;
    uint64_t epoch = (c->node ^ ++c->epochs) * UINT64_C(0x9E3779B97F4A7C15);
    struct text run = redis_link_run(s->commands);
    struct epoch_argument a = {.len = HEX_DIGITS + run.len};
    hex_write(epoch ? epoch : 1, a.digits);
    memcpy(a.digits + HEX_DIGITS, run.at, run.len);
    return a;
}

struct route_rule cluster_rule(const struct cluster *c, struct text topic)
{
    return (struct route_rule){rules_find(c->rules, topic), rules_version(c->rules)};
}

void cluster_return(struct cluster *c, struct errand *e, enum errand_outcome outcome)
{
    bool published = e->kind == ERRAND_PUBLISH && outcome == ERRAND_DONE;
    if (published) {
        metric_add(&c->metrics, METRIC_cluster_published_total, 1);
        metric_add(&c->metrics, METRIC_messages_published_total, e->count);
    } else if (e->kind == ERRAND_PUBLISH) {
        metric_add(&c->metrics, METRIC_cluster_refused_total, 1);
    }
    e->outcome = outcome;
    c->under_way--;
    mailbox_done(&c->box, e->weight);
    backplane_return(e, (published && !e->counted) || e->kind == ERRAND_EVENT);
}

/* --- the round of the loop -------------------------------------------------------------------- */

static void do_errand(struct cluster *c, struct errand *e)
{
    c->under_way++;
    switch (e->kind) {
    case ERRAND_PUBLISH:
        cluster_publish(c, e);
        break;
    case ERRAND_EVENT:
        cluster_publish_event(c, e);
        break;
    case ERRAND_FOLLOW:
        follow_topic(c, e);
        break;
    case ERRAND_PATTERN:
        follow_pattern(c, e);
        break;
    case ERRAND_FETCH:
        cluster_fetch(c, e);
        break;
    case ERRAND_ASK:
        ask_begin(&c->ask, e);
        break;
    }
}

static void take_rules(struct cluster *c)
{
    rules_drop(c->rules);
    c->rules = rules_box_take(&c->settings.shop->rules);
}

static void begin_to_stop(struct cluster *c);

static void take_mail(struct cluster *c)
{
    mailbox_take(&c->box, &c->tray);
    while (c->tray.at < c->tray.count) {
        struct mail mail = c->tray.mails[c->tray.at++];
        switch (mail.kind) {
        case MAIL_ERRAND:
            do_errand(c, mail.item);
            break;
        case MAIL_INQUIRY:
            inquiry_finish(mail.item);
            break;
        case MAIL_RULES:
            take_rules(c);
            break;
        default:
            MUST(mail.kind == MAIL_DRAIN);
            begin_to_stop(c);
        }
    }
}

/* Publishers that wait for room in the mailbox may go on. */
static void let_waiters_go(struct cluster *c)
{
    uint64_t waiters[MAILBOX_WAITERS_MAX / 64];
    struct workshop *shop = c->settings.shop;
    if (mailbox_crowded(&c->box, c->route->crowded / 2) || !mailbox_waiters(&c->box, waiters))
        return;
    for (unsigned i = 0; i < shop->count; i++)
        if (waiters[i / 64] & 1ULL << (i % 64))
            mailbox_post(shop->route.boxes[i], (struct mail){.kind = MAIL_RESUME});
}

static void keep_going(uv_idle_t *idle)
{
    (void)idle; /* being active is what it is for */
}

static void maybe_end(struct cluster *c);

static void turn(uv_prepare_t *prepare)
{
    struct cluster *c = prepare->data;
    take_mail(c);
    for (unsigned i = 0; i < c->shard_count; i++) {
        struct shard *s = &c->shards[i];
        cluster_publish_waiting(s);
        cluster_fetch_waiting(s);
        follow_turn(s);
        if (!c->closing) {
            redis_link_flush(s->commands);
            redis_link_flush(s->subscriber);
            redis_link_look(s->commands);
        }
    }
    let_waiters_go(c);
    if (c->stopping)
        maybe_end(c);
    if (c->closing)
        return;
    if (mailbox_sleep(&c->box))
        uv_idle_stop(&c->unfinished);
    else
        uv_idle_start(&c->unfinished, keep_going);
}

static void mail_came(void *user)
{
    (void)user; /* the turn before the next poll does the work */
}

static void tick(uv_timer_t *timer)
{
    struct cluster *c = timer->data;
    follow_tick(c);
    metric_set(&c->metrics, METRIC_cluster_nodes, (int64_t)nodes_count(&c->nodes));
}

/* --- the end ---------------------------------------------------------------------------------- */

/* The workers have ended; the admin listener has not, and is told of what it asks. */
static void begin_to_stop(struct cluster *c)
{
    if (c->stopping)
        return;
    c->stopping = true;
    ask_stop(&c->ask);
    nodes_close(&c->nodes);
}

static void close_all(struct cluster *c)
{
    c->closing = true;
    mailbox_close(&c->box);
    take_mail(c); /* what came since */
    for (unsigned i = 0; i < c->shard_count; i++)
        c->shards[i].round++; /* no answer is for what there was */
    follow_fini(c);
    ask_close(&c->ask);
    counts_close(&c->counts);
    for (unsigned i = 0; i < c->shard_count; i++) {
        cluster_publish_fail_waiting(&c->shards[i]);
        cluster_fetch_fail_waiting(&c->shards[i]);
        redis_link_flush(c->shards[i].commands); /* that it is gone */
        redis_link_close(c->shards[i].commands);
        redis_link_close(c->shards[i].subscriber);
    }
    uv_close((uv_handle_t *)&c->turn, NULL);
    uv_close((uv_handle_t *)&c->unfinished, NULL);
    uv_close((uv_handle_t *)&c->tick, NULL);
    uv_close((uv_handle_t *)&c->let_go, NULL);
}

static void maybe_end(struct cluster *c)
{
    if (!c->closing && ask_is_idle(&c->ask))
        close_all(c);
}

void cluster_stop(struct cluster *c)
{
    mailbox_post(&c->box, (struct mail){.kind = MAIL_DRAIN});
}

/* --- start and stop --------------------------------------------------------------------------- */

static bool needs_tls(const struct cluster *c)
{
    for (unsigned i = 0; i < c->shard_count; i++)
        if (c->urls[i].tls)
            return true;
    return false;
}

static int read_settings(struct cluster *c, char *error, size_t error_size)
{
    c->shard_count = (unsigned)redis_urls_read(c->settings.urls, &c->urls, error, error_size);
    if (c->shard_count == 0)
        return -1;
    if (needs_tls(c)) {
        struct tls_report report = {0};
        struct tls_client_paths paths = {.ca = *c->settings.ca ? c->settings.ca : NULL};
        c->trust = tls_trust_load(&paths, &report);
        if (!c->trust) {
            snprintf(error, error_size, "%s", report.error);
            return -1;
        }
    }
    c->shards = calloc(c->shard_count, sizeof *c->shards);
    if (!c->shards) {
        snprintf(error, error_size, "out of memory");
        return -1;
    }
    return 0;
}

static void free_settings(struct cluster *c)
{
    redis_urls_free(c->urls, c->shard_count);
    if (c->trust)
        tls_trust_drop(c->trust);
    free(c->shards);
}

static void node_changed(uint64_t node, bool here, void *user)
{
    struct cluster *c = user;
    ask_node(&c->ask, node, here);
}

static void asked(struct errand *e, void *user)
{
    cluster_return(user, e, e->outcome);
}

static void open_parts(struct cluster *c)
{
    struct redis_link *first = c->shards[0].commands;
    nodes_init(&c->nodes, &(struct nodes_settings){.loop = &c->loop,
                              .link = first,
                              .script = SCRIPT_NODES,
                              .id = c->node,
                              .logger = c->settings.logger,
                              .changed = node_changed,
                              .user = c});
    ask_init(&c->ask, &(struct ask_settings){.loop = &c->loop,
                          .shop = c->settings.shop,
                          .home = &c->box,
                          .link = first,
                          .nodes = &c->nodes,
                          .logger = c->settings.logger,
                          .done = asked,
                          .user = c});
    counts_init(&c->counts,
        &(struct counts_settings){.loop = &c->loop, .script = SCRIPT_COUNTS, .nodes = &c->nodes});
}

int cluster_open(
    struct cluster *c, const struct cluster_settings *settings, char *error, size_t error_size)
{
    *c = (struct cluster){.settings = *settings, .route = &settings->shop->route};
    if (read_settings(c, error, error_size) != 0) {
        free_settings(c);
        return -1;
    }
    c->node = hash_key_random().k0;
    c->node += c->node == 0;
    int code = uv_loop_init(&c->loop);
    if (code == 0 && (code = mailbox_open(&c->box, &c->loop, mail_came, c)) != 0)
        uv_loop_close(&c->loop);
    if (code != 0) {
        snprintf(error, error_size, "cannot make an event loop: %s", uv_strerror(code));
        free_settings(c);
        return -1;
    }
    uv_prepare_init(&c->loop, &c->turn);
    uv_idle_init(&c->loop, &c->unfinished);
    uv_timer_init(&c->loop, &c->tick);
    uv_timer_init(&c->loop, &c->let_go);
    c->turn.data = c->tick.data = c->let_go.data = c;
    if (!shards_open(c))
        die("no memory for the connections to Redis");
    open_parts(c);
    take_rules(c);
    atomic_store(&settings->shop->away, true);
    settings->shop->route.backplane = &c->box;
    uv_prepare_start(&c->turn, turn);
    uv_timer_start(&c->tick, tick, TICK_MS, TICK_MS);
    return 0;
}

static void cluster_main(void *user)
{
    struct cluster *c = user;
    uv_run(&c->loop, UV_RUN_DEFAULT);
    c->settings.ended(c->settings.user);
}

int cluster_start(struct cluster *c)
{
    return uv_thread_create(&c->thread, cluster_main, c);
}

void cluster_join(struct cluster *c)
{
    uv_thread_join(&c->thread);
}

void cluster_fini(struct cluster *c)
{
    if (!c->closing) { /* never ran */
        begin_to_stop(c);
        close_all(c);
        uv_run(&c->loop, UV_RUN_DEFAULT);
    }
    for (unsigned i = 0; i < c->shard_count; i++)
        people_fini(&c->shards[i]);
    nodes_fini(&c->nodes);
    ask_fini(&c->ask);
    counts_fini(&c->counts);
    rules_drop(c->rules);
    free_settings(c);
    tray_fini(&c->tray);
    mailbox_fini(&c->box);
    MUST(uv_loop_close(&c->loop) == 0);
}
