/* Deadlines by the thousand on one libuv timer: a hashed wheel.
 *
 * Order: a deadline is met at the first tick that is not before it: up to WHEEL_TICK_MS late, never
 *   early. With no deadline set the loop is not woken.
 * Memory: the caller's nodes; setting and unsetting allocate nothing.
 * Threads: the loop's. */
#ifndef HERMES_LOOP_WHEEL_H
#define HERMES_LOOP_WHEEL_H

#include <stdint.h>
#include <uv.h>

#include "base/list.h"

enum { WHEEL_TICK_MS = 64, WHEEL_SLOTS = 512 };

struct deadline {
    struct list node;
    uint32_t due;   /* tick */
    uint32_t since; /* the owner's, in room that would be lost: a tick to count from */
};

struct wheel {
    uv_timer_t timer;
    struct list slots[WHEEL_SLOTS];
    uint32_t now;   /* the last tick that was met */
    uint32_t armed; /* the tick the timer is set for; 0: not set */
    uint32_t count;
    void (*met)(struct deadline *d, void *user);
    void *user;
};

/* `met` is called with the deadline unset; it may set it again, and unset or free others. */
int wheel_open(
    struct wheel *w, uv_loop_t *loop, void (*met)(struct deadline *d, void *user), void *user);

/* All deadlines must be unset. */
void wheel_close(struct wheel *w, uv_close_cb closed);

void deadline_init(struct deadline *d);

/* Sets it to `ms` from now (moving it when it is set). */
void wheel_set(struct wheel *w, struct deadline *d, uint64_t ms);
void wheel_unset(struct wheel *w, struct deadline *d);

/* The same as wheel_set, but one that is set for an earlier time stays. */
void wheel_hasten(struct wheel *w, struct deadline *d, uint64_t ms);

/* The current tick, for cheap time stamps: a tick is WHEEL_TICK_MS. */
uint32_t wheel_tick(const struct wheel *w);

#endif
