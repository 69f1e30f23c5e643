/* How busy each worker has been lately: the processor time of its thread, looked at whenever
 * somebody asks, so that it costs the workers nothing.
 *
 * Threads: the listener's. */
#ifndef HERMES_ADMIN_LOADS_H
#define HERMES_ADMIN_LOADS_H

#include <stdbool.h>
#include <stdint.h>

struct worker;

enum { LOAD_SPAN_MS = 500 };

struct load {
    uint64_t cpu_ns; /* when it was last looked at */
    uint64_t at_ns;
    double busy; /* 0 to 1, of the time between the last two looks */
};

/* Since the last look; looks that follow each other faster than LOAD_SPAN_MS see the same. */
double load_look(struct load *load, const struct worker *w);

/* Processor time of a worker's thread; false when it is not known any more. */
bool load_cpu(const struct worker *w, uint64_t *ns);

#endif
