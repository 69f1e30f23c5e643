/* How late a worker comes to what should run, and how long messages take: figures that cost the way
 * of a message next to nothing.
 *
 * The lag is taken by a beat: while a worker works, a timer with nanoseconds is to be heard every
 * PULSE_MS, and how late it is heard is how late anything else would have been that came then. So a
 * lag counts by how long it lasts, whatever the worker did; and a worker that rests is left to
 * rest.
 *
 * The time from publish to write is taken of at most one message in SAMPLE_MS: its publisher stamps
 * it, and who delivers it looks at the clock when all sessions that it touched have been flushed.
 *
 * Threads: the worker's, but for the lag and the histograms, which anyone may read. */
#ifndef HERMES_SESSION_PULSE_H
#define HERMES_SESSION_PULSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/histogram.h"

struct message;
struct worker;

enum { PULSE_MS = 100, SAMPLE_MS = 4 };

struct pulse {
    int fd; /* a timerfd; -1: nobody wants to know, or there was none to be had */
    uv_poll_t poll;
    bool resting;            /* until the next turn */
    uint32_t turns;          /* of the worker, ever */
    uint32_t beaten;         /* `turns` at the last beat */
    uint32_t own;            /* the turn that is run for the beat's own sake */
    uint64_t due_ns;         /* the next beat */
    uint64_t stamp_ms;       /* from when on the next message is stamped */
    uint32_t stamp;          /* of the message that is on its way; 0: none */
    size_t until;            /* place in the flush queue by which it has been written */
    _Atomic uint64_t lag_ns; /* at the last beat; 0 when it rests */
    struct histogram histograms[HISTOGRAM_COUNT];
};

/* Without a timer where `wanted` is false: then nothing is ever taken. */
void pulse_open(struct pulse *p, uv_loop_t *loop, bool wanted);
void pulse_close(struct pulse *p);

/* A worker that rested works again. */
void pulse_wake(struct pulse *p);

static inline void pulse_turn(struct pulse *p)
{
    p->turns++;
    if (p->resting && p->turns != p->own)
        pulse_wake(p);
}

void pulse_stamp(struct pulse *p, struct message *m, uint64_t now_ms);

/* One is about to be posted. */
static inline void pulse_publish(struct pulse *p, struct message *m, const uv_loop_t *loop)
{
    uint64_t now_ms = uv_now(loop);
    if (now_ms >= p->stamp_ms)
        pulse_stamp(p, m, now_ms);
}

/* A stamped one has been given to sessions, of which the last is at that place of the queue. */
static inline void pulse_deliver(struct pulse *p, uint32_t stamp, size_t until)
{
    if (p->stamp || p->fd < 0)
        return;
    p->stamp = stamp;
    p->until = until;
}

void pulse_written(struct pulse *p);

/* The queue has been flushed up to there. */
static inline void pulse_flush(struct pulse *p, size_t at)
{
    if (p->stamp && at >= p->until)
        pulse_written(p);
}

/* The first so many places of the queue are gone. */
static inline void pulse_shift(struct pulse *p, size_t places)
{
    p->until = p->until > places ? p->until - places : 0;
}

#endif
