/* The threads that make the load, called lanes: each with a loop, and a group of clients on it.
 *
 * Order: fleet_open, fleet_call as often as needed, fleet_close. Threads: fleet_* belong to the
 * main one. What a lane has is touched on its own thread only, or by the main one while the lane's
 * thread does not run: before fleet_open and after fleet_close. */
#ifndef HERMES_BENCH_FLEET_H
#define HERMES_BENCH_FLEET_H

#include <hermes/client.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "histogram.h"
#include "report.h"

/* What a lane has seen since it was last asked. */
struct tally {
    uint64_t published, deliveries, bytes, connects, leaves;
    struct histogram latency, connect, served, late;
    struct report_faults faults;
    char said[160]; /* the first fault that has words of its own; empty: none */
};

void tally_clear(struct tally *t);
void tally_add(struct tally *into, const struct tally *from);

/* Numbers taken back since the last asking (a lost one that came after all) add up all the same. */
void faults_add(struct report_faults *into, const struct report_faults *from);

/* Keeps the first. */
void tally_say(struct tally *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct lane {
    struct fleet *fleet;
    unsigned index;
    uv_loop_t loop;
    struct hermes_client_group *group;
    struct tally tally;
    uint64_t open; /* connections */
    void *part;    /* of the scenario */
    /* Called on the lane after lane_wake; several wakes may become one. */
    void (*on_wake)(struct lane *lane);

    uv_thread_t thread;
    uv_async_t async;
    sem_t done;
    void (*_Atomic call)(struct lane *lane, void *user);
    void *call_user;
    bool stop;
};

struct fleet {
    struct lane *lanes;
    unsigned count;
};

/* False, with one line in `fault`. */
bool fleet_open(struct fleet *fleet, unsigned count, char *fault, size_t fault_size);

/* Runs `call` on one lane after the other and waits for it, so that it may touch what is the
 * caller's. */
void fleet_call(struct fleet *fleet, void (*call)(struct lane *lane, void *user), void *user);

/* All clients must have been freed, all handles of others closed, by an earlier call. */
void fleet_close(struct fleet *fleet);

/* From any thread. */
void lane_wake(struct lane *lane);

#endif
