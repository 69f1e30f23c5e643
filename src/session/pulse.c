#include "session/pulse.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "broker/message.h"

/* MISSED_MOST: beats that one stall counts for, at most: ten seconds. */
enum { MISSED_MOST = 100 };

static const uint64_t beat_ns = PULSE_MS * UINT64_C(1000000);

static struct timespec time_of(uint64_t ns)
{
    return (struct timespec){
        .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
}

/* 0: never. */
static void arm(struct pulse *p, uint64_t first_ns)
{
    struct itimerspec when = {
        .it_value = time_of(first_ns), .it_interval = time_of(first_ns ? beat_ns : 0)};
    timerfd_settime(p->fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void rest(struct pulse *p)
{
    arm(p, 0);
    p->resting = true;
    p->own = p->turns + 1;
    atomic_store_explicit(&p->lag_ns, 0, memory_order_relaxed);
}

static void beat(uv_poll_t *poll, int status, int events)
{
    struct pulse *p = poll->data;
    uint64_t missed;
    (void)status;
    (void)events;
    if (read(p->fd, &missed, sizeof missed) != (ssize_t)sizeof missed)
        return;
    uint64_t now = clock_ns();
    atomic_store_explicit(&p->lag_ns, now > p->due_ns ? now - p->due_ns : 0, memory_order_relaxed);
    for (uint64_t i = 0; i < missed; i++) {
        if (i < MISSED_MOST && now >= p->due_ns)
            histogram_add(&p->histograms[HISTOGRAM_loop_lag_seconds], now - p->due_ns);
        p->due_ns += beat_ns;
    }
    /* One turn since the last beat is the one that the beat itself woke the worker for. */
    if (p->turns - p->beaten <= 1)
        rest(p);
    p->beaten = p->turns;
}

void pulse_wake(struct pulse *p)
{
    p->resting = false;
    p->beaten = p->turns - 1;
    p->due_ns = clock_ns() + beat_ns;
    arm(p, p->due_ns);
}

void pulse_open(struct pulse *p, uv_loop_t *loop, bool wanted)
{
    p->fd = wanted ? timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC) : -1;
    p->resting = false;
    p->stamp_ms = UINT64_MAX;
    if (p->fd < 0)
        return;
    if (uv_poll_init(loop, &p->poll, p->fd) != 0) {
        close(p->fd);
        p->fd = -1;
        return;
    }
    p->poll.data = p;
    uv_poll_start(&p->poll, UV_READABLE, beat);
    p->resting = true;
    p->stamp_ms = 0;
}

void pulse_close(struct pulse *p)
{
    p->resting = false;
    p->stamp_ms = UINT64_MAX;
    if (p->fd < 0)
        return;
    uv_close((uv_handle_t *)&p->poll, NULL);
    close(p->fd);
    p->fd = -1;
}

/* --- from publish to write -------------------------------------------------------------------- */

/* Units of 1.024 us, which wrap after an hour; never 0. */
static uint32_t stamp_now(void)
{
    uint32_t stamp = (uint32_t)(clock_ns() >> 10);
    return stamp ? stamp : 1;
}

void pulse_stamp(struct pulse *p, struct message *m, uint64_t now_ms)
{
    m->stamp = stamp_now();
    p->stamp_ms = now_ms + SAMPLE_MS;
}

void pulse_written(struct pulse *p)
{
    histogram_add(&p->histograms[HISTOGRAM_publish_to_write_seconds],
        (uint64_t)(stamp_now() - p->stamp) << 10);
    p->stamp = 0;
}
