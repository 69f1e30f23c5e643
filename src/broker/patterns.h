/* The global index of the patterns that anybody subscribes to: given a topic, which of them match,
 * and which workers want it.
 *
 * A topic keeps the answer (struct match_set) until the index changes: `generation` tells. So a
 * publish pays one look at a number while nobody uses patterns, or while none came or went.
 *
 * Order: the index changes first, the generation after it, both under the lock; so an answer is
 *   never taken for one of a later generation, and who has joined is in all that is asked for then.
 * Ownership: patterns and match sets are counted; a set holds its patterns.
 * Memory: a match set is as large as there are matches. Strangers choose how many: with 10,000
 *   patterns one of them can have thousands match each of thousands of topics, so whoever keeps
 *   sets should only keep the small ones.
 * Threads: any. Lock: PATTERNS, which comes before all others but RULES. */
#ifndef HERMES_BROKER_PATTERNS_H
#define HERMES_BROKER_PATTERNS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/die.h"
#include "base/text.h"
#include "broker/pattern_tree.h"
#include "loop/lock.h"

struct pattern {
    uint64_t hash;   /* the registry's, of its text; set for good, like the text and the serial */
    uint64_t serial; /* the older, the smaller */
    _Atomic uint32_t references;
    _Atomic uint32_t subscribers; /* of all workers */
    uint32_t text_len;
    struct pattern *next; /* while matching, under the lock */
    uint64_t workers[]; /* a bit each worker that has subscribers, under the lock; then the text */
};

/* The patterns that match one topic, for good: what comes later makes a new one. */
struct match_set {
    _Atomic uint32_t references;
    uint32_t count;
    struct text topic;          /* its name, copied into the same allocation */
    uint64_t *workers;          /* a bit each worker that has subscribers to any of them */
    struct pattern *patterns[]; /* oldest first */
};

struct patterns {
    struct lock lock;
    unsigned worker_words;
    _Atomic uint32_t count;      /* of patterns */
    _Atomic uint32_t watchers;   /* subscriptions that are told of joins and leaves */
    _Atomic uint64_t generation; /* changes whenever an answer may have changed; starts at 1 */
    struct pattern_tree tree GUARDED_BY(lock);
    uint64_t serial GUARDED_BY(lock); /* of the newest pattern, so that the oldest is known */
};

void patterns_init(struct patterns *p, unsigned workers);

/* Nobody may subscribe any more. */
void patterns_fini(struct patterns *p);

struct text pattern_text(const struct patterns *p, const struct pattern *pattern);

/* One more subscriber on that worker: finds or makes the pattern, which must be a good one, and
 * stays valid until the worker's last subscriber has left. NULL when there is no memory. */
struct pattern *patterns_join(
    struct patterns *p, uint64_t hash, struct text text, unsigned worker, bool watches);

/* One subscriber less; `last`: that worker's last one, and `pattern` must not be used any more but
 * by who holds a set with it. Takes the lock for the last one only. */
void patterns_leave(
    struct patterns *p, struct pattern *pattern, unsigned worker, bool last, bool watches);

/* Makes sure that the index knows of the worker's subscribers, of which there are some. False: it
 * did not. */
bool patterns_wanted(struct patterns *p, struct pattern *pattern, unsigned worker);

static inline bool patterns_used(const struct patterns *p)
{
    return atomic_load_explicit(&p->count, memory_order_seq_cst) > 0;
}

/* A subscriber starts (+1) or stops (-1) being told of joins and leaves. */
static inline void patterns_watch(struct patterns *p, int by)
{
    uint32_t before = atomic_fetch_add_explicit(&p->watchers, (uint32_t)by, memory_order_relaxed);
    MUST(by > 0 || before > 0);
}

static inline bool patterns_watched(const struct patterns *p)
{
    return atomic_load_explicit(&p->watchers, memory_order_relaxed) > 0;
}

/* Whether there are so few that one of them may be the first. */
static inline bool patterns_few(const struct patterns *p)
{
    return atomic_load_explicit(&p->count, memory_order_relaxed) <= 16;
}

static inline uint64_t patterns_generation(const struct patterns *p)
{
    return atomic_load_explicit(&p->generation, memory_order_seq_cst);
}

/* The patterns that match: `*set` with one reference, or NULL for none. `*generation` is that of
 * the answer. False when there is no memory. Costs as much as there are matches and segments, not
 * patterns; what strangers can make of it is said in broker/pattern_tree.h. */
bool patterns_match(
    struct patterns *p, struct text topic, struct match_set **set, uint64_t *generation);

/* Whether any pattern in use begins with that segment, which stands for itself; an empty one: or
 * with a wildcard. Costs one look, however many there are. */
bool patterns_begin_with(struct patterns *p, struct text segment);

/* Gives `each` every segment that stands for itself and that a pattern in use begins with, under
 * the lock, until it returns false; which is returned. */
bool patterns_each_first(
    struct patterns *p, bool (*each)(void *user, struct text segment), void *user);

static inline void match_set_hold(struct match_set *set)
{
    atomic_fetch_add_explicit(&set->references, 1, memory_order_relaxed);
}

/* NULL is ignored. */
void match_set_drop(struct match_set *set);

#endif
