#include "histogram.h"

#include <math.h>
#include <string.h>

enum { SUB = 1 << HISTOGRAM_SUB_BITS };

void histogram_clear(struct histogram *h)
{
    memset(h, 0, sizeof *h);
}

/* The lowest 64 values have a bucket each; from there on, a value's seven leading bits and how far
 * they were shifted make its bucket. Without a branch or a division, for this runs per delivery. */
static size_t bucket_of(uint64_t ns)
{
    const uint64_t top = (UINT64_C(1) << HISTOGRAM_DOUBLINGS) - 1;
    const uint64_t value = ns < top ? ns : top;
    const unsigned shift = 63 - HISTOGRAM_SUB_BITS - (unsigned)__builtin_clzll(value | SUB);
    return ((size_t)shift << HISTOGRAM_SUB_BITS) + (size_t)(value >> shift);
}

void histogram_record(struct histogram *h, uint64_t ns)
{
    h->count[bucket_of(ns)]++;
    h->sum += ns;
    if (ns > h->most)
        h->most = ns;
    if (h->total++ == 0 || ns < h->least)
        h->least = ns;
}

void histogram_add(struct histogram *into, const struct histogram *from)
{
    if (from->total == 0)
        return;
    if (into->total == 0 || from->least < into->least)
        into->least = from->least;
    if (from->most > into->most)
        into->most = from->most;
    into->total += from->total;
    into->sum += from->sum;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->count[i] += from->count[i];
}

uint64_t histogram_at(const struct histogram *h, double part)
{
    if (h->total == 0)
        return 0;
    /* A hair less, so that 0.99 of 100 is the 99th and not, by rounding, the 100th. */
    const double rank = ceil(part * (double)h->total * (1 - 1e-13));
    if (rank >= (double)h->total)
        return h->most;
    const uint64_t wanted = rank > 1 ? (uint64_t)rank : 1;
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
        seen += h->count[i];
        if (seen >= wanted) {
            const uint64_t high = histogram_high(i);
            return high < h->most ? high : h->most;
        }
    }
    return h->most; /* the last bucket has no upper edge */
}

double histogram_mean(const struct histogram *h)
{
    return h->total ? (double)h->sum / (double)h->total : 0;
}

uint64_t histogram_low(size_t bucket)
{
    if (bucket < SUB)
        return bucket;
    const unsigned shift = (unsigned)(bucket >> HISTOGRAM_SUB_BITS) - 1;
    return (uint64_t)(SUB + (bucket & (SUB - 1))) << shift;
}

uint64_t histogram_high(size_t bucket)
{
    return histogram_low(bucket + 1) - 1;
}
