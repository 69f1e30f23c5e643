/* How long something takes, counted by size: one set of bounds for all.
 *
 * Threads: the owner adds; anyone may read, and sees each count as it was at some time. */
#ifndef HERMES_BASE_HISTOGRAM_H
#define HERMES_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum histogram_name {
#define HISTOGRAM(name, each, help) HISTOGRAM_##name,
#include "base/histograms.def"
#undef HISTOGRAM
    HISTOGRAM_COUNT
};

enum { HISTOGRAM_BOUNDS = 16 };

struct histogram {
    _Alignas(64) _Atomic uint64_t counts[HISTOGRAM_BOUNDS + 1]; /* not cumulative; the last one:
                                                                 * above all bounds */
    _Atomic uint64_t sum_ns;
};

/* The bounds: 50 us to 10 s, each included. */
extern const uint64_t histogram_bounds_ns[HISTOGRAM_BOUNDS];

/* Adds to the calling thread's own. */
void histogram_add(struct histogram *h, uint64_t ns);

#endif
