/* The global table of topics: which workers have subscribers, how many there are, and what is kept
 * of the messages.
 *
 * Order: a topic's messages are numbered and posted under its stripe, so all workers get them in
 *   one order (guarantee 1).
 * Memory: one allocation a topic, and its history. A topic is there while it has a subscriber or a
 *   history; one that is only there for subscribers by pattern goes when it has been quiet.
 * Threads: any. Lock: STRIPE, one of REGISTRY_STRIPES, chosen by the hash; nothing but a mailbox's
 *   lock is taken under it, and no callback runs. */
#ifndef HERMES_BROKER_REGISTRY_H
#define HERMES_BROKER_REGISTRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/map.h"
#include "base/text.h"
#include "broker/keepers.h"
#include "broker/topic_order.h"
#include "loop/lock.h"

enum { REGISTRY_STRIPES = 256 };

struct match_set;

/* All under the stripe, but for what never changes: hash, name; and the epoch, which does only
 * where the topic is live and may be read by any. */
struct registry_topic {
    uint64_t hash;
    _Atomic uint64_t epoch; /* of its offsets; no other topic has it or ever had it */
    uint64_t offset;        /* of the newest message */
    struct order_node order;
    struct kept *kept;         /* NULL: nothing */
    struct match_set *matches; /* the patterns that match it, held; NULL: none */
    uint64_t generation;       /* of the patterns, when `matches` was true; 0: never asked */
    uint32_t subscribers;      /* by its name, of all workers */
    _Atomic uint32_t watchers; /* those of them who are told of joins and leaves; read by any */
    uint32_t name_len;
    uint32_t quiet;   /* sweeps since the last message */
    uint16_t audited; /* so many workers, from the first on, have added theirs to `counted` since */
    bool live; /* it follows the cluster's, see broker/relay.h; nothing else removes it then */
    uint32_t counted;   /* somebody joined or left, see session/audit.h */
    uint64_t workers[]; /* a bit each worker that has subscribers; then the name */
};

struct stripe {
    struct lock lock;
    struct map topics GUARDED_BY(lock);
    struct topic_order order GUARDED_BY(lock);
    struct keepers keepers GUARDED_BY(lock);
    uint64_t made GUARDED_BY(lock);       /* topics, ever */
    uint32_t transients GUARDED_BY(lock); /* at most so many topics nobody subscribes by name */
    size_t swept GUARDED_BY(lock);        /* where the sweeps go on */
    uint32_t swept_kept GUARDED_BY(lock);
} __attribute__((aligned(64)));

struct registry {
    struct hash_key key;
    uint64_t epochs;       /* random: what the epochs are made of */
    unsigned worker_words; /* 64-bit words of a topic's worker set */
    struct history_budget budget;
    struct stripe stripes[REGISTRY_STRIPES];
};

/* For workers 0 to workers-1; `history_bytes` for all histories together, 0: no limit. */
void registry_init(struct registry *r, unsigned workers, size_t history_bytes);

/* No worker may have an interest left. */
void registry_fini(struct registry *r);

static inline uint64_t registry_hash(const struct registry *r, struct text topic)
{
    return hash_bytes(r->key, topic.at, topic.len);
}

/* The high bits choose the stripe, so that the low ones are still free to place it in there. */
static inline struct stripe *registry_stripe(struct registry *r, uint64_t hash)
{
    return &r->stripes[hash >> 56];
}

/* Never changes, and stays while the caller has an interest in the topic or holds the stripe. */
static inline struct text registry_name(
    const struct registry *r, const struct registry_topic *topic)
{
    return (struct text){(const char *)(topic->workers + r->worker_words), topic->name_len};
}

/* The topic, or NULL. */
struct registry_topic *registry_find(struct registry *r, struct stripe *stripe, uint64_t hash,
    struct text name) REQUIRES(stripe->lock);

/* A topic that is not there yet, with no subscriber: for who gives it one, or something to keep.
 * NULL when there is no memory. */
struct registry_topic *registry_make(struct registry *r, struct stripe *stripe, uint64_t hash,
    struct text name) REQUIRES(stripe->lock);

/* One more subscriber on that worker. */
void registry_join(struct stripe *stripe, struct registry_topic *topic, unsigned worker,
    bool watches) REQUIRES(stripe->lock);

/* One subscriber less; `last`: that worker's last one. True when the topic went with it. */
bool registry_leave(struct registry *r, struct stripe *stripe, struct registry_topic *topic,
    unsigned worker, bool last, bool watches) REQUIRES(stripe->lock);

/* Frees the topic when there is nothing left that keeps it. True when it is gone. */
bool registry_release(struct registry *r, struct stripe *stripe, struct registry_topic *topic)
    REQUIRES(stripe->lock);

/* Sets what is kept of the topic from now on. Without memory nothing is kept. */
void registry_keep(struct registry *r, struct stripe *stripe, struct registry_topic *topic,
    struct history_limits limits, uint32_t version, uint64_t now_us) REQUIRES(stripe->lock);

/* Frees the oldest messages of all topics until their histories are within the budget. Not under
 * any stripe. */
void registry_trim(struct registry *r);

#endif
