/* The server's process and this machine, as /proc shows them. Threads: any. */
#ifndef HERMES_BENCH_PROCESS_H
#define HERMES_BENCH_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

struct process_reading {
    uint64_t cpu;      /* ns, user and system, all threads that are or were */
    uint64_t rss;      /* bytes; from statm, so that it is cheap enough to ask ten times a second */
    uint64_t rss_peak; /* bytes */
};

/* False, with errno, when there is no such process or it may not be read. */
bool process_read(long pid, struct process_reading *out);

/* Resident bytes by smaps_rollup, exact where statm is off by a batch of pages per thread. */
bool process_rss_exact(long pid, uint64_t *bytes);

struct machine_reading {
    uint64_t busy, all; /* ticks of all processors together */
};
bool machine_read(struct machine_reading *out);

#endif
