/* --slo and --find-knee: which rates to try, and whether one held. No clock, no I/O.
 *
 * The search begins at a rate, doubles it until the objective breaks (or halves it until it holds),
 * then bisects until the gap is below 5 %. A rate that broke is tried once more before it counts,
 * since one hiccup of the machine is not the server's limit. */
#ifndef HERMES_BENCH_KNEE_H
#define HERMES_BENCH_KNEE_H

#include "histogram.h"

#include <stdbool.h>
#include <stddef.h>

/* "p99=50ms,max=1s": percentiles p50 to p99.999, or max; ns, us, ms, s. */
struct slo {
    struct {
        double part; /* 1: the greatest */
        uint64_t most;
    } bound[4];
    size_t count;
};

/* False, with one line in `fault`. */
bool slo_parse(struct slo *slo, const char *text, char *fault, size_t fault_size);

/* True when every bound holds; else `why` says which did not, with both figures. */
bool slo_holds(const struct slo *slo, const struct histogram *latency, char *why, size_t why_size);

struct knee {
    double next;        /* the rate to try; 0: the search is over */
    double held, broke; /* the highest that held; the lowest that broke; 0: none yet */
    double least, most; /* bounds of the search */
    bool again;         /* `next` has broken once */
};

void knee_start(struct knee *k, double first, double least, double most);
void knee_tell(struct knee *k, bool held); /* what became of k->next */

#endif
