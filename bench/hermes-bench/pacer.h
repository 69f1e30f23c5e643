/* An alarm at a nanosecond of the monotonic clock, where libuv's own timers know milliseconds.
 * Threads: the lane's. Order: pacer_open, pacer_set again and again, pacer_close, and the loop run
 * until the handle is closed. */
#ifndef HERMES_BENCH_PACER_H
#define HERMES_BENCH_PACER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct pacer {
    uv_poll_t poll;
    int fd;
    void (*due)(void *user);
    void *user;
};

/* False, with errno. */
bool pacer_open(struct pacer *p, uv_loop_t *loop, void (*due)(void *user), void *user);

/* One alarm, in place of any earlier one; a moment that is past is due in the next turn. */
void pacer_set(struct pacer *p, uint64_t moment);
void pacer_unset(struct pacer *p);

/* What `p` lies in must stay until the loop has run on. */
void pacer_close(struct pacer *p);

#endif
