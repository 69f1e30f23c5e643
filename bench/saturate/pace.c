/* Publishing at a rate: each publisher has a turn every so many nanoseconds, evenly spread over all
 * of them, and sends a batch then.
 *
 * A batch that could not go when it was due, because the one before had not come everywhere, goes
 * as soon as it has, and its latency counts from when it was due: that is the server's. That the
 * timer rings late is not. */
#define _GNU_SOURCE
#include "saturate.h"

#include <sys/timerfd.h>

static uint64_t pace_step(const struct load *l)
{
    return (uint64_t)(1e9 * l->cell->inflight * l->publisher_count / l->cell->rate);
}

void pace_start(struct load *l)
{
    uint64_t now = load_now_ns(), apart = pace_step(l) / l->publisher_count;
    for (uint32_t i = 0; i < l->publisher_count; i++) {
        l->publishers[i].due = now + apart * i;
        l->publishers[i].waits = true;
    }
    pace_send(l);
}

bool pace_waits(const struct load *l, struct publisher *p)
{
    if (l->cell->rate <= 0)
        return false;
    p->due += pace_step(l);
    p->waits = p->due > load_now_ns();
    p->late = !p->waits;
    return p->waits;
}

void pace_send(struct load *l)
{
    uint64_t now = load_now_ns(), next = UINT64_MAX;
    for (uint32_t i = 0; i < l->publisher_count; i++) {
        struct publisher *p = &l->publishers[i];
        if (p->waits && p->due <= now) {
            p->waits = false;
            publisher_send(l, p);
        }
        if (p->waits && p->due < next)
            next = p->due;
    }
    struct itimerspec at = {.it_value = {.tv_sec = 0}}; /* off */
    if (next != UINT64_MAX)
        at.it_value = (struct timespec){(time_t)(next / 1000000000u), (long)(next % 1000000000u)};
    timerfd_settime(l->timer, TFD_TIMER_ABSTIME, &at, NULL);
}

uint32_t pace_stop(struct load *l)
{
    uint32_t waited = 0;
    for (uint32_t i = 0; i < l->publisher_count; i++) {
        waited += l->publishers[i].waits;
        l->publishers[i].waits = false;
    }
    return waited;
}
