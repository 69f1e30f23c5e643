/* Opens a lane's connections one after the other: by a schedule, or as fast as they come about with
 * so many under way at a time.
 * Threads: the lane's. Order: ramp_open, ramp_start each time, ramp_close. */
#ifndef HERMES_BENCH_RAMP_H
#define HERMES_BENCH_RAMP_H

#include <stddef.h>

#include "pacer.h"

struct ramp {
    struct pacer pacer;
    /* Opens the connection of that number. `moment` is when it was meant to, in ns. */
    void (*open)(void *user, size_t number, uint64_t moment);
    void *user;
    size_t count, next, under_way, most;
    uint64_t start;
    double interval; /* ns; 0: no schedule */
    bool going; /* an open that settles at once does not begin the next from inside of itself */
};

/* False, with errno. */
bool ramp_open(struct ramp *r, uv_loop_t *loop, void (*open)(void *, size_t, uint64_t), void *user);
void ramp_close(struct ramp *r);

/* Begins with the first of `count`, per second `rate` (0: no schedule) from `start` on, with `most`
 * under way at a time (with a schedule: any number). */
void ramp_start(struct ramp *r, size_t count, double rate, uint64_t start, size_t most);

/* No more are begun. */
void ramp_stop(struct ramp *r);

/* One has come about, or has failed. */
void ramp_settled(struct ramp *r);

#endif
