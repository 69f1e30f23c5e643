/* The topics of one stripe that have a history, the one with the oldest message first: a heap.
 *
 * A topic's key is when its oldest message was published, or earlier: publishing does not touch the
 * heap. Whoever wants the oldest settles the top first.
 * Memory: 8 bytes a topic, and a struct kept.
 * Threads: under the stripe, but for keepers_oldest. */
#ifndef HERMES_BROKER_KEEPERS_H
#define HERMES_BROKER_KEEPERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/history.h"

struct registry_topic;

/* What is kept of one topic. */
struct kept {
    struct history history;
    struct registry_topic *topic;
    uint64_t key;     /* no later than its oldest message; UINT64_MAX: it has none */
    uint32_t place;   /* in the heap */
    uint32_t version; /* of the rules that its limits are from */
};

struct keepers {
    struct kept **list;
    uint32_t count;
    uint32_t cap;
    _Atomic uint64_t oldest; /* the first one's key */
};

void keepers_init(struct keepers *k);
void keepers_fini(struct keepers *k);

/* False when there is no memory. */
bool keepers_add(struct keepers *k, struct kept *kept);
void keepers_remove(struct keepers *k, struct kept *kept);

/* A message was kept in a history that was empty. */
void keepers_filled(struct keepers *k, struct kept *kept);

/* The one with the oldest message of all, or NULL: its key is exact. */
struct kept *keepers_settle(struct keepers *k);

/* A lower bound of the oldest message's time; UINT64_MAX when there is none. From any thread. */
static inline uint64_t keepers_oldest(const struct keepers *k)
{
    return atomic_load_explicit(&k->oldest, memory_order_relaxed);
}

#endif
