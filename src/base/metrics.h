/* Counters and gauges, one set a thread.
 *
 * Threads: the owner of a set writes it; anyone may read it. No two sets share a cache line, and a
 *   gauge may be raised on one thread and lowered on another: only the sum means something. */
#ifndef HERMES_BASE_METRICS_H
#define HERMES_BASE_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum metric {
#define METRIC(name, kind, help) METRIC_##name,
#include "base/metrics.def"
#undef METRIC
    METRIC_COUNT
};

struct metrics {
    _Alignas(64) _Atomic int64_t values[METRIC_COUNT];
};

/* The metric of that name, or METRIC_COUNT. */
enum metric metric_find(const char *name);

/* Adds to a figure of the calling thread's own set: a plain load and store, not a locked one. */
static inline void metric_add(struct metrics *m, enum metric which, int64_t by)
{
    int64_t now = atomic_load_explicit(&m->values[which], memory_order_relaxed);
    atomic_store_explicit(&m->values[which], now + by, memory_order_relaxed);
}

static inline void metric_set(struct metrics *m, enum metric which, int64_t value)
{
    atomic_store_explicit(&m->values[which], value, memory_order_relaxed);
}

static inline int64_t metric_get(const struct metrics *m, enum metric which)
{
    return atomic_load_explicit(&m->values[which], memory_order_relaxed);
}

#endif
