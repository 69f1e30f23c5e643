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

    uint64_t opened; /* points count from here while the run lasts, in the report from `zero` */
    uint64_t zero;   /* where the measurement began, of a search the first; 0: not yet */
    uint64_t point_at, looked_at, moved_at;
    uint64_t every; /* between points; ns */
    bool draining;  /* nothing more is sent, what was sent still comes */
    bool closing;   /* what is seen now says nothing about the server any more */
    struct process_reading server_point, server_look;
    uint64_t peak_before; /* the server's, of its life before this run */
    uint64_t connections;

    /* Between run_begin and run_end. */
    bool measuring;
    uint64_t begun;
    struct process_reading server_begun;
    struct machine_reading machine_begun;
    uint64_t *lane_cpu;                     /* when it began */
    struct tally *fresh, *since, *measured; /* of this look, since the last point */
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

/* ---- run_points.c ---- */

/* Between two looks at the lanes. A look shows whether anything moves, and progress; a point, of
 * which a long run has fewer, goes into the report. */
enum { RUN_LOOK_NS = 100 * 1000000 };

/* Looks at the lanes when it is time, or `always`, and makes a point when one is due. What was seen
 * before an `always` is in no point behind it. */
void run_collect(struct run *run, bool always);

/* At the end, when `zero` is known. */
void run_date_points(struct run *run);

uint64_t run_seconds(double seconds); /* in ns */

/* Connections of a lane that come about together, where there is no schedule. */
enum { RUN_UNDER_WAY = 64 };

/* A connection has twice the patience to come about: a lost SYN alone costs a second, then two,
 * then four. Who waits for connections waits a little longer than each of them, and for the next
 * one of a slow ramp. */
#define RUN_CONNECT_MS(o) ((uint32_t)((o)->patience * 2000))
#define RUN_CONNECT_PATIENCE(o)                                                                    \
    ((o)->patience * 2 + 2 + ((o)->connect_rate > 0 ? 1 / (o)->connect_rate : 0))

/* ---- verdict.c ---- */

/* Says in words when the tool was the limit and not the server. */
void run_judge_tool(struct run *run);

/* Says whether the objective was met; true when there is none. */
bool run_judge_slo(struct run *run);

#endif
