/* The cluster thread: what joins this broker to others through Redis.
 *
 * It does the errands of workers and admin listener (broker/backplane.h), follows the far topics
 * that somebody here subscribes to, and gives what comes to the registry (broker/relay.h), from
 * where it goes the way of every message.
 *
 * Order: cluster_open reads the settings, cluster_start, cluster_stop (any thread), cluster_join,
 *   cluster_fini. It has to outlive the workers, which wait for their errands.
 * Threads: all fields are the cluster thread's but the mailbox and the metrics. Nothing but the
 *   registry's locks and mailboxes' is taken.
 * Memory: bounded by what the links hold (cluster/redis_link.h), by HELD_BYTES for topics whose
 *   position is being asked for, and some 150 bytes and the name a followed topic. */
#ifndef HERMES_CLUSTER_CLUSTER_H
#define HERMES_CLUSTER_CLUSTER_H

#include <stdatomic.h>
#include <uv.h>

#include "base/list.h"
#include "base/map.h"
#include "base/metrics.h"
#include "broker/backplane.h"
#include "cluster/ask.h"
#include "cluster/counts.h"
#include "cluster/nodes.h"
#include "cluster/payload.h"
#include "cluster/redis_link.h"
#include "loop/mailbox.h"
#include "session/worker.h"

struct tls_trust;

struct cluster_settings {
    const char *urls; /* WS_REDIS_URL */
    const char *ca; /* WS_REDIS_CA: whom to believe that it is Redis; empty: whom the system does */
    struct workshop *shop;
    struct logger *logger;
    void (*ended)(void *user); /* the last thing on the thread */
    void *user;
};

struct errands {
    struct errand *first;
    struct errand *last;
};

static inline void errands_add(struct errands *list, struct errand *e)
{
    e->behind = NULL;
    if (list->last)
        list->last->behind = e;
    else
        list->first = e;
    list->last = e;
}

static inline struct errand *errands_take(struct errands *list)
{
    struct errand *e = list->first;
    if (e)
        list->first = e->behind;
    if (!list->first)
        list->last = NULL;
    return e;
}

/* One Redis server. */
struct shard {
    struct cluster *cluster;
    unsigned index;
    struct redis_link *commands;
    struct redis_link *subscriber;
    bool up; /* both are */
    size_t topic_count;
    struct list *swept;           /* where the looks at them go on */
    struct list topics;           /* struct followed: those that live there, */
    struct list wanting;          /* those whose channel is to be subscribed, */
    struct list asking;           /* those whose position is to be asked for, */
    struct list settling;         /* those whose channel is to be subscribed once more, */
    struct list missing;          /* and those of which something is to be fetched */
    struct errand *waiting_first; /* publishes that the link had no room for */
    struct errand *waiting_last;
    struct errands fetch_waiting; /* fetches that have to wait for others, */
    uint64_t fetch_bytes;         /* what these ask for, */
    unsigned fetches;             /* and how many are under way, those for topics with them */
    bool fetched_topic;           /* the last one was for a topic that misses something */
    unsigned round;               /* how often the subscriber has come up */
    unsigned questions;           /* for positions, that are not answered */
    unsigned singly;              /* so many more are for one topic each */
    struct list patterns;         /* struct pattern_channel, */
    struct list patterns_wanting; /* those that are to be subscribed, */
    struct list *patterns_swept;  /* where the looks at them go on, */
    struct map pattern_names;     /* and how they are found */
    unsigned pattern_count;
    bool missed;      /* what patterns match may have been missed, which is to be told */
    struct map heard; /* struct heard: the newest event of each broker */
};

struct cluster {
    struct cluster_settings settings;
    struct route *route;
    uv_thread_t thread;
    uv_loop_t loop;
    struct mailbox box;
    struct tray tray;
    uv_prepare_t turn;
    uv_idle_t unfinished;
    uv_timer_t tick;
    uv_timer_t let_go; /* reading again when the workers have caught up */
    struct redis_url *urls;
    unsigned shard_count;
    struct shard *shards;
    unsigned up; /* so many of them are */
    struct tls_trust *trust;
    struct rules *rules;
    bool other_rules;
    uint64_t node;   /* this broker's id */
    uint64_t epochs; /* how many it has proposed */
    uint64_t events; /* and how many joins and leaves it has told of */
    struct map topics;
    size_t held; /* bytes of messages that wait for a position */
    struct nodes nodes;
    struct ask ask;
    struct counts counts;
    uint32_t ticks;   /* see follow_tick */
    size_t under_way; /* errands that are not back */
    bool stopping;
    bool closing;
    bool crowded; /* a worker is: no messages are taken from Redis until it has caught up */
    struct metrics metrics;
};

/* Reads the settings. 0, or -1 with one sentence for a person in `error`. */
int cluster_open(
    struct cluster *c, const struct cluster_settings *settings, char *error, size_t error_size);
int cluster_start(struct cluster *c); /* a libuv error code or 0 */
void cluster_stop(struct cluster *c);
void cluster_join(struct cluster *c);

/* Frees one whose thread has ended or was never started. */
void cluster_fini(struct cluster *c);

/* --- for the parts of it ---------------------------------------------------------------------- */

/* Where a topic lives. */
struct shard *cluster_shard(struct cluster *c, struct text topic);

/* An epoch that nobody has had, and the run of the server that it is for, as scripts want them. */
struct epoch_argument {
    char digits[HEX_DIGITS + RUN_DIGITS];
    size_t len;
};
struct epoch_argument cluster_epoch(const struct shard *s);

static inline struct text epoch_argument_text(const struct epoch_argument *a)
{
    return (struct text){a->digits, a->len};
}

struct route_rule cluster_rule(const struct cluster *c, struct text topic);

/* The errand is done. */
void cluster_return(struct cluster *c, struct errand *e, enum errand_outcome outcome);

/* Writes `prefix` and `name` as one argument. */
static inline void cluster_arg(struct redis_link *l, struct text prefix, struct text name)
{
    redis_arg_begin(l, prefix.len + name.len);
    redis_arg_piece(l, prefix);
    redis_arg_piece(l, name);
}

/* shards.c: a worker lags behind: nothing is read from Redis until it has caught up. */
void cluster_crowded(struct cluster *c, int worker);

/* shards.c: begins to connect to all servers. False when there is no memory. */
bool shards_open(struct cluster *c);

/* publish.c */
void cluster_publish(struct cluster *c, struct errand *e);
void cluster_publish_event(struct cluster *c, struct errand *e);
void cluster_publish_waiting(struct shard *s);
void cluster_publish_fail_waiting(struct shard *s);

/* fetch.c */
struct fetched {
    bool failed; /* there was no answer */
    uint64_t epoch;
    uint64_t offset;
    uint64_t oldest;
    uint64_t first;
    const struct resp *frames;
    size_t count;
};
bool fetch_send(struct shard *s, struct text topic, uint64_t from, uint32_t most, size_t bytes,
    struct history_limits limits, redis_answer answered, void *user);
struct fetched fetch_read(const struct resp *answer);
/* Whether that is no answer for the moment alone, and says nothing of what is kept. */
bool fetch_comes_again(const struct resp *answer);
void cluster_fetch(struct cluster *c, struct errand *e);
void cluster_fetch_waiting(struct shard *s);
void cluster_fetch_fail_waiting(struct shard *s);

/* milliseconds that Redis remembers an idle topic for whom nobody asks */
#define IDLE_MS "3600000"

#endif
