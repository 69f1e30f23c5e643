/* A run as the main thread sees it: waiting, reading the lanes and the server some times a second,
 * and what stands in the report in the end.
 *
 * Order: run_open; a scenario, which measures between run_begin and run_end; run_close. Threads:
 * the main one. */
#ifndef HERMES_BENCH_RUN_H
#define HERMES_BENCH_RUN_H

#include "fleet.h"
#include "options.h"
#include "process.h"
#include "progress.h"
#include "report.h"

struct run {
    const struct options *o;
    struct report *report;
    struct fleet fleet;
    struct progress progress;
    int signals;
    bool interrupted;
    bool stalled;      /* nothing moved for as long as there was patience */
    const char *doing; /* for the progress line; static */
    uint64_t ends_at;  /* for it too, when what is waited for is only a part; else 0 */
    uint64_t waits_to; /* what is waited for at the moment; 0: not known */

    uint64_t zero; /* the moment that points count from */
    uint64_t point_at, moved_at;
    uint64_t every; /* between points; ns */
    struct process_reading server_then;
    uint64_t peak_before; /* the server's, of its life before this run */
    uint64_t connections;

    /* Between run_begin and run_end. */
    bool measuring;
    uint64_t begun;
    struct process_reading server_begun;
    struct machine_reading machine_begun;
    uint64_t *lane_cpu; /* when it began */
    struct tally *since, *measured;
};

/* Checks the way there, with one connection, before threads start; false with one line in `fault`.
 * `connections`: at the same time. */
bool run_open(struct run *run, const struct options *o, struct report *report, size_t connections,
    char *fault, size_t fault_size);
void run_close(struct run *run);

enum run_wait {
    RUN_MET,
    RUN_TIME,
    RUN_STALLED,
    RUN_INTERRUPTED,
};

/* Until `met` (NULL: nothing) is true, `until` (0: never) is there, a signal comes, or nothing has
 * moved for `patience` seconds (0: however long). */
enum run_wait run_wait(
    struct run *run, uint64_t until, bool (*met)(void *user), void *user, double patience);

/* What the lanes have seen from here on is what is measured. What was measured before is dropped:
 * the one that counts is the last. */
void run_begin(struct run *run);

/* Fills the report. `seconds` 0: as long as it took. */
void run_end(struct run *run, double seconds);

/* Keeps the highest memory of the server within the run. */
void run_note_peak(struct run *run, const struct process_reading *server);

/* Adds what the lanes have seen to `since` and makes a point of it when one is due. */
void run_collect(struct run *run, bool always);

uint64_t run_seconds(double seconds); /* in ns */

/* Connections of a lane that come about together, where there is no schedule. */
enum { RUN_UNDER_WAY = 64 };

/* A connection has twice the patience to come about: a lost SYN alone costs a second, then two,
 * then four. Who waits for connections waits a little longer than each of them. */
#define RUN_CONNECT_MS(o) ((uint32_t)((o)->patience * 2000))
#define RUN_CONNECT_PATIENCE(o) ((o)->patience * 2 + 2)

/* ---- verdict.c ---- */

/* Says in words when the tool was the limit and not the server. */
void run_judge_tool(struct run *run);

/* Says whether the objective was met; true when there is none. */
bool run_judge_slo(struct run *run);

#endif
