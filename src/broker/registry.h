/* The global table of topics: which workers have subscribers, and how many there are.
 *
 * Order: a topic's messages are numbered and posted under its stripe, so all workers get them in
 *   one order (guarantee 1).
 * Memory: one allocation a topic. A topic is there while it has a subscriber.
 * Threads: any. Lock: STRIPE, one of REGISTRY_STRIPES, chosen by the hash; nothing but a mailbox's
 *   lock is taken under it, and no callback runs. */
#ifndef HERMES_BROKER_REGISTRY_H
#define HERMES_BROKER_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/map.h"
#include "base/text.h"
#include "loop/lock.h"

enum { REGISTRY_STRIPES = 256 };

struct registry_topic {
    uint64_t hash;
    uint64_t offset;      /* of the newest message; under the stripe */
    uint32_t subscribers; /* of all workers; under the stripe */
    uint32_t name_len;
    uint64_t workers[]; /* a bit each worker that has subscribers; then the name */
};

struct stripe {
    struct lock lock;
    struct map topics GUARDED_BY(lock);
} __attribute__((aligned(64)));

struct registry {
    struct hash_key key;
    unsigned worker_words; /* 64-bit words of a topic's worker set */
    struct stripe stripes[REGISTRY_STRIPES];
};

/* For workers 0 to workers-1. */
void registry_init(struct registry *r, unsigned workers);

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
struct text registry_name(const struct registry *r, const struct registry_topic *topic);

/* The topic, or NULL. */
struct registry_topic *registry_find(struct registry *r, struct stripe *stripe, uint64_t hash,
    struct text name) REQUIRES(stripe->lock);

/* One more subscriber on that worker: finds or makes the topic. NULL when there is no memory.
 * `*made` is set when the topic is new. */
struct registry_topic *registry_join(struct registry *r, struct stripe *stripe, uint64_t hash,
    struct text name, unsigned worker, bool *made) REQUIRES(stripe->lock);

/* One subscriber less; `last`: that worker's last one. True when the topic went with it. */
bool registry_leave(struct stripe *stripe, struct registry_topic *topic, unsigned worker, bool last)
    REQUIRES(stripe->lock);

#endif
