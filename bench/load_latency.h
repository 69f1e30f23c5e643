/* Latencies of a run, counted in buckets 1.6 % wide at most.
 *
 * Header-only, as load.h. Ownership: plain memory, which processes may share. Threads: one writes.
 */
#ifndef HERMES_BENCH_LOAD_LATENCY_H
#define HERMES_BENCH_LOAD_LATENCY_H

#include <stdint.h>
#include <string.h>

enum { LATENCY_BITS = 6, LATENCY_SUB = 1 << LATENCY_BITS, LATENCY_DOUBLINGS = 36 };

struct load_latency {
    uint64_t total;
    uint64_t count[LATENCY_DOUBLINGS << LATENCY_BITS];
};

static inline void load_latency_add(struct load_latency *h, uint64_t ns)
{
    const uint64_t most = ((uint64_t)1 << LATENCY_DOUBLINGS) - 1;
    const uint64_t value = ns < most ? ns : most;
    const unsigned shift = 63 - LATENCY_BITS - (unsigned)__builtin_clzll(value | LATENCY_SUB);
    h->count[((size_t)shift << LATENCY_BITS) + (size_t)(value >> shift)]++;
    h->total++;
}

/* The latency that a share of all stayed below, in microseconds: the upper edge of its bucket. */
static inline double load_latency_at(const struct load_latency *h, double share)
{
    uint64_t wanted = (uint64_t)((double)h->total * share), seen = 0;
    for (size_t i = 0; i < sizeof h->count / sizeof *h->count; i++) {
        seen += h->count[i];
        if (h->count[i] && seen > wanted) {
            size_t shift = i < 2 * LATENCY_SUB ? 0 : (i >> LATENCY_BITS) - 1;
            return (double)(((i - (shift << LATENCY_BITS)) + 1) << shift) / 1e3;
        }
    }
    return 0;
}

#endif
