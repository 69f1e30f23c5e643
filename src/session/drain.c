#include "session/drain.h"

#include "base/hash.h"
#include "proto/reply2.h"
#include "session/far.h"
#include "session/session.h"
#include "session/worker.h"

/* Between two that end, of all workers; on average, and at most. */
enum { APART_MS = 10 };

/* --- places ----------------------------------------------------------------------------------- */

static uint64_t spread_of(const struct workshop *shop)
{
    uint64_t most = shop->limits.drain_ms - shop->limits.drain_ms / 4;
    uint64_t enough = (uint64_t)atomic_load(&shop->connections) * APART_MS;
    return enough < most ? enough : most;
}

/* Milliseconds until its place. */
static uint64_t left(const struct session *s)
{
    const struct worker *w = s->worker;
    uint64_t now = uv_now(&w->loop);
    uint64_t at = w->drain_ms;
    if (w->drain_spread_ms > 0)
        at += hash_bytes(w->shop->route.registry.key, &s->client, sizeof s->client) %
              w->drain_spread_ms;
    return at > now ? at - now : 0;
}

uint64_t drain_within(const struct session *s, uint64_t ms)
{
    uint64_t most = left(s);
    return ms < most ? ms : most;
}

/* --- one session ------------------------------------------------------------------------------ */

static void tell(struct session *s, uint64_t after_ms)
{
    struct worker *w = s->worker;
    buf_clear(&w->scratch);
    reply2_reconnect(&w->scratch, after_ms);
    if (!w->scratch.failed)
        session_send(s, buf_text(&w->scratch));
}

/* Whether it has to stay for the cluster, for what it has sent to be done and answered: as long as
 * there is time to close it in order. */
static bool waits(const struct session *s)
{
    const struct worker *w = s->worker;
    uint64_t time = w->shop->limits.drain_ms;
    bool late = time > 0 && uv_now(&w->loop) >= w->drain_ms + time - time / 8;
    return (s->parked || session_publishes_far(s)) && !late;
}

/* What has come for it is delivered, and what it has published answered, before it goes. */
static void end(struct session *s)
{
    struct worker *w = s->worker;
    mailbox_take(&w->box, &w->tray);
    worker_deliver(w);
    if (s->state == SESSION_OPEN && waits(s)) {
        s->leaving = true;
        session_watch(s);
        wheel_set(&w->wheel, &s->deadline, 0); /* the next tick */
    } else if (s->state == SESSION_OPEN) {
        session_close(s, CLOSE_SHUTDOWN);
    }
}

static void begin(void *item, void *user)
{
    struct session *s = item;
    struct worker *w = user;
    if (s->state == SESSION_HEAD)
        session_end(s, CLOSE_SHUTDOWN, false);
    if (s->state != SESSION_OPEN)
        return;
    uint64_t after_ms = left(s);
    if (s->enveloped)
        tell(s, after_ms);
    if (after_ms == 0)
        end(s);
    else
        wheel_hasten(&w->wheel, &s->deadline, after_ms);
}

bool drain_met(struct session *s)
{
    struct worker *w = s->worker;
    if (left(s) > 0)
        return false;
    if (w->telling)
        wheel_set(&w->wheel, &s->deadline, 0); /* it may be one that is not told yet */
    else
        end(s);
    return true;
}

/* --- the worker ------------------------------------------------------------------------------- */

static void end_by_force(void *item, void *user)
{
    (void)user;
    session_end(item, CLOSE_SHUTDOWN, true);
}

static void time_over(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    slab_each(&w->sessions, end_by_force, w);
}

void worker_drain(struct worker *w)
{
    if (w->draining)
        return;
    w->draining = true;
    w->telling = true;
    w->drain_ms = uv_now(&w->loop);
    w->drain_spread_ms = spread_of(w->shop);
    if (w->shop->limits.drain_ms)
        uv_timer_start(&w->drain_timer, time_over, w->shop->limits.drain_ms, 0);
}

bool worker_drain_step(struct worker *w)
{
    w->telling = slab_step(&w->sessions, &w->drain_cursor, begin, w);
    return !w->telling;
}
