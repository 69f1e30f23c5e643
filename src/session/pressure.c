/* When clients are slower than their topics: the log's budget, and publishers who must wait. */
#include <stdlib.h>

#include "base/die.h"
#include "session/session.h"
#include "session/slow.h"
#include "session/worker.h"

enum {
    LOG_EARLY = 8,          /* chunks that the log may grow by before all is flushed at once */
    LOG_EXCESS = 8,         /* the part of its budget that the log may be over it for some turns */
    RELIEF_SESSION = 100,   /* what a session that lets go costs besides */
    LISTING_RATE = 2000000, /* topics looked at a second for listings */
    LISTING_BURST = 1000000,
};

/* Forgets what of the log nobody needs any more. */
static void trim(struct worker *w)
{
    log_trim(&w->log, worker_oldest_queued(w));
    marks_trim(&w->marks, w->log.base);
    w->log.noted = marks_size(&w->marks);
}

/* Makes room at the log's front: whoever holds it lets go of it, or is too slow. */
static void relieve_oldest(struct outbox *oldest)
{
    struct session *s = LIST_ITEM(oldest, struct session, out);
    s->worker->relief += RELIEF_SESSION;
    if (!session_let_go(s))
        session_close(s, CLOSE_TOO_SLOW);
}

/* Many sessions that let go of a chunk must not keep the loop from polling. Nothing is delivered
 * while the log is over its budget, so that it grows by answers only. */
static bool may_wait(const struct worker *w, uint64_t since)
{
    const struct byte_log *log = &w->log;
    return w->relief - since > WORKER_RELIEF &&
           log_size(log) - log->budget <= log->budget / LOG_EXCESS;
}

void worker_relieve(struct worker *w)
{
    if (log_over(&w->log) || w->log.count > LOG_EARLY + w->log_settled)
        worker_flush(w, SIZE_MAX);
    trim(w);
    uint64_t since = w->relief;
    struct outbox *oldest = NULL;
    bool holds_chunk;
    while (log_over(&w->log) && (oldest = outbox_oldest(&w->log, &holds_chunk)) != NULL &&
           !may_wait(w, since)) {
        relieve_oldest(oldest);
        worker_flush(w, SIZE_MAX);
        trim(w);
    }
    w->strained = log_over(&w->log) && oldest;
    if (w->queue.count == 0)
        w->log_settled = w->log.count;
    metric_set(&w->metrics, METRIC_log_bytes, (int64_t)log_size(&w->log));
}

static void pause_reading(struct worker *w, struct session *s)
{
    if (w->paused_count == w->paused_cap) {
        size_t cap = w->paused_cap ? w->paused_cap * 2 : 64;
        w->paused = realloc(w->paused, cap * sizeof *w->paused);
        if (!w->paused)
            die("no memory to remember a paused publisher");
        w->paused_cap = cap;
    }
    w->paused[w->paused_count++] = s;
    s->paused = true;
    session_watch(s);
    metric_add(&w->metrics, METRIC_paused_sessions, 1);
}

void worker_pause(struct worker *w, struct session *s, unsigned crowded)
{
    struct route *route = &w->shop->route;
    struct mailbox *box = crowded == WORKER_BACKPLANE ? route->backplane : route->boxes[crowded];
    if (!s->paused && mailbox_wait(box, w->index, route->crowded))
        pause_reading(w, s);
}

void worker_unpause(struct worker *w, struct session *s)
{
    if (!s->paused)
        return;
    size_t i = w->paused_count - 1; /* resuming all goes from the end */
    while (w->paused[i] != s)
        i--;
    w->paused[i] = w->paused[--w->paused_count];
    s->paused = false;
    metric_add(&w->metrics, METRIC_paused_sessions, -1);
}

void worker_resume_all(struct worker *w)
{
    while (w->paused_count > 0) {
        struct session *s = w->paused[w->paused_count - 1];
        worker_unpause(w, s);
        session_watch(s);
    }
}

/* --- listings --------------------------------------------------------------------------------- */

bool worker_may_list(struct worker *w, const struct session *s)
{
    uint64_t now = uv_now(&w->loop);
    w->listing += (int64_t)(now - w->listing_ms) * (LISTING_RATE / 1000);
    w->listing_ms = now;
    if (w->listing > LISTING_BURST)
        w->listing = LISTING_BURST;
    return !s->paused || w->listing >= 0;
}

static void listing_earned(uv_timer_t *timer)
{
    worker_resume_all(timer->data);
}

void worker_listed(struct worker *w, struct session *s, size_t seen)
{
    w->listing -= (int64_t)seen + REGISTRY_STRIPES;
    if (w->listing >= 0 || s->state != SESSION_OPEN || s->paused)
        return;
    pause_reading(w, s);
    uint64_t wait = (uint64_t)-w->listing / (LISTING_RATE / 1000) + 1;
    uv_timer_start(&w->listing_timer, listing_earned, wait, 0);
}
