/* The flush queue's sessions sent to by one submission, see net/ring.h. */
#include "base/die.h"
#include "session/session.h"
#include "session/worker.h"

enum { PREFETCH = 8 };

/* Puts what is queued into the ring, and touches nothing but the queue. Returns how many sends
 * that makes. */
static size_t fill(struct worker *w, size_t most)
{
    struct flush_queue *q = &w->queue;
    struct ring *ring = w->ring;
    size_t sends = 0;
    for (; q->at < q->count && most > 0 && ring->count < RING_SENDS; most--) {
        if (q->at + PREFETCH < q->count && q->sessions[q->at + PREFETCH])
            __builtin_prefetch(q->sessions[q->at + PREFETCH]);
        struct session *s = q->sessions[q->at++];
        if (!s)
            continue;
        s->queued = 0;
        struct iovec piece = {NULL, 0};
        if (!s->unremembered && !s->conn.tls)
            piece = outbox_piece(&w->log, &s->out);
        ring_add(ring, &s->conn, piece, s);
        sends += piece.iov_len > 0;
    }
    return sends;
}

size_t worker_flush_by_ring(struct worker *w, size_t most)
{
    struct flush_queue *q = &w->queue;
    struct ring *ring = w->ring;
    size_t before = q->at;
    size_t sends = fill(w, most);
    size_t taken = q->at - before;
    bool good = ring_submit(ring);
    metric_add(&w->metrics, METRIC_submissions_total, sends > 0);
    /* The queue may grow and move from here on, and each session may end by what became of its own
     * send; but none is freed before the turn is over, and the log stays as it is. */
    for (unsigned i = 0; i < ring->count; i++) {
        struct ring_send *send = &ring->sends[i];
        struct session *s = send->user;
        if (i + PREFETCH < ring->count)
            __builtin_prefetch(ring->sends[i + PREFETCH].user, 1);
        MUST_DEBUG(s->state != SESSION_ENDED);
        if (send->wrote == RING_UNTRIED)
            session_flush(s);
        else
            session_flush_after(s, send->piece, send->wrote);
    }
    ring_clear(ring);
    if (!good) {
        LOG_LINE(w->shop->logger, LOG_WARN, "io_uring failed, sending without it",
            LOG_NUMBER("worker", w->index));
        ring_free(ring);
        w->ring = NULL;
    }
    return taken;
}
