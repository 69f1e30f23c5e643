/* A log-linear histogram of durations, in the manner of HdrHistogram: 64 buckets to each doubling,
 * so that a value is known to better than 1.6 %, from 1 ns to an hour and more.
 *
 * Memory: one block of fixed size; no allocation while recording. Threads: none; each thread has
 * its own, and they are added up by one that owns them all. */
#ifndef HERMES_BENCH_HISTOGRAM_H
#define HERMES_BENCH_HISTOGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HISTOGRAM_SUB_BITS = 6,
    HISTOGRAM_DOUBLINGS = 42, /* up to 2^42 ns, 73 minutes; more counts as that */
    HISTOGRAM_BUCKETS = (HISTOGRAM_DOUBLINGS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS,
};

struct histogram {
    uint64_t total, sum, least, most; /* exact; ns */
    uint64_t count[HISTOGRAM_BUCKETS];
};

/* One that is all zeros is empty. */
void histogram_clear(struct histogram *h);
void histogram_record(struct histogram *h, uint64_t ns);
void histogram_add(struct histogram *into, const struct histogram *from);

/* The value that `part` (0 to 1) of all recorded values do not exceed, to the bucket's upper edge
 * and never above the greatest; 0 when there are none. */
uint64_t histogram_at(const struct histogram *h, double part);

double histogram_mean(const struct histogram *h);

/* For writing one out: a bucket's lowest and highest value. */
uint64_t histogram_low(size_t bucket);
uint64_t histogram_high(size_t bucket);

#endif
