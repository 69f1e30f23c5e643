/* From the mailbox to the sockets: what every published message passes on a worker. */
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "session/session.h"
#include "session/worker.h"

enum {
    SLICE_DELIVERIES = 50000, /* spans added before the loop polls again */
    RUN_BYTES = LOG_CHUNK,    /* of one topic, logged before its subscribers are gone through */
    BATCH_BYTES = 128 * 1024, /* of mail: more costs the cache more than a larger batch saves */
    PREFETCH = 8,
};

/* --- the flush queue -------------------------------------------------------------------------- */

/* Under steady load the queue may never be empty, so its flushed part is dropped now and then. */
static void queue_compact(struct flush_queue *q)
{
    q->count -= q->at;
    memmove(q->sessions, q->sessions + q->at, q->count * sizeof *q->sessions);
    q->at = 0;
    for (size_t i = 0; i < q->count; i++)
        if (q->sessions[i])
            q->sessions[i]->queued = (uint32_t)i + 1;
}

static void queue_reserve(struct flush_queue *q, size_t more)
{
    if (q->cap - q->count >= more)
        return;
    if (q->at > q->cap / 2) {
        queue_compact(q);
        if (q->cap - q->count >= more)
            return;
    }
    size_t cap = q->cap ? q->cap : 256;
    while (cap - q->count < more)
        cap *= 2;
    q->sessions = realloc(q->sessions, cap * sizeof *q->sessions);
    if (!q->sessions)
        die("no memory for a flush queue of %zu", cap);
    q->cap = cap;
}

static inline void touch_reserved(struct worker *w, struct session *s)
{
    if (s->queued || (s->blocked && !s->unremembered))
        return; /* a blocked session is flushed when its socket is writable */
    w->queue.sessions[w->queue.count++] = s;
    s->queued = (uint32_t)w->queue.count;
}

void worker_touch(struct worker *w, struct session *s)
{
    queue_reserve(&w->queue, 1);
    touch_reserved(w, s);
}

void worker_untouch(struct worker *w, struct session *s)
{
    if (s->queued)
        w->queue.sessions[s->queued - 1] = NULL;
    s->queued = 0;
}

uint64_t worker_oldest_queued(struct worker *w)
{
    while (w->queue.at < w->queue.count && !w->queue.sessions[w->queue.at])
        w->queue.at++;
    /* In the order in which they were touched, and so in the order of their first spans. */
    for (size_t at = w->queue.at; at < w->queue.count; at++) {
        const struct session *s = w->queue.sessions[at];
        if (s && s->out.first.start != s->out.first.end)
            return s->out.first.start;
    }
    return w->log.end;
}

void worker_flush(struct worker *w, size_t most)
{
    struct flush_queue *q = &w->queue;
    while (w->ring && most > 0 && q->count - q->at >= RING_LEAST)
        most -= worker_flush_by_ring(w, most);
    for (; q->at < q->count && most > 0; most--) {
        struct session *s = q->sessions[q->at++];
        if (q->at + PREFETCH < q->count)
            __builtin_prefetch(q->sessions[q->at + PREFETCH]);
        if (!s)
            continue;
        s->queued = 0;
        session_flush(s);
    }
    if (q->at == q->count)
        q->at = q->count = 0;
}

/* --- the mail --------------------------------------------------------------------------------- */

/* Delivers the message that is next in the tray, and those of the same topic right behind it in one
 * go: they lie side by side in the log and are one span to each subscriber. Returns how many spans
 * were added. */
static size_t deliver_messages(struct worker *w)
{
    struct tray *tray = &w->tray;
    const struct message *first = tray->mails[tray->at].item;
    const struct registry_topic *topic = first->topic;
    uint64_t hash = first->hash;
    struct local_topic *local = local_find(&w->topics, hash, topic);
    uint64_t start = w->log.end;
    size_t messages = 0;
    size_t weight = 0;
    do {
        struct message *m = tray->mails[tray->at].item;
        if (m->hash != hash || m->topic != topic)
            break;
        if (local)
            log_append(&w->log, m->frames, m->len);
        messages += m->count;
        weight += tray->mails[tray->at].weight;
        message_drop(m);
        tray->at++;
    } while (tray->at < tray->count && tray->mails[tray->at].kind == MAIL_MESSAGE &&
             w->log.end - start < RUN_BYTES);
    mailbox_done(&w->box, weight);
    if (!local)
        return 1; /* its subscribers left while it was on its way */

    struct place *places = local_places(local);
    queue_reserve(&w->queue, local->count);
    for (uint32_t i = 0; i < local->count; i++) {
        if (i + PREFETCH < local->count)
            __builtin_prefetch(session_of(places[i + PREFETCH].subscriber), 1);
        struct session *s = session_of(places[i].subscriber);
        if (!outbox_add(&w->log, &s->out, start, w->log.end))
            s->unremembered = true;
        touch_reserved(w, s);
    }
    metric_add(&w->metrics, METRIC_deliveries_total, (int64_t)(messages * local->count));
    return local->count;
}

static size_t deliver_next(struct worker *w)
{
    struct mail mail = w->tray.mails[w->tray.at];
    switch (mail.kind) {
    case MAIL_MESSAGE:
        return deliver_messages(w);
    case MAIL_CONNECTION:
        w->tray.at++;
        session_open(w, (int)(mail.word & 0xffffffff), (enum connection_refusal)(mail.word >> 32),
            mail.item);
        return 16;
    case MAIL_RESUME:
        w->tray.at++;
        worker_resume_all(w);
        return 1;
    case MAIL_DRAIN:
        w->tray.at++;
        worker_drain(w);
        return 1;
    }
    die("mail of unknown kind %d", (int)mail.kind);
}

bool worker_deliver_slice(struct worker *w)
{
    size_t work = 0;
    while (w->tray.at < w->tray.count && work < SLICE_DELIVERIES && !log_over(&w->log))
        work += deliver_next(w);
    if (work > 0)
        metric_add(&w->metrics, METRIC_batches_total, 1);
    if (w->tray.at < w->tray.count)
        return false;
    w->deliveries++;
    return true;
}

void worker_deliver(struct worker *w)
{
    while (!worker_deliver_slice(w))
        worker_relieve(w);
}

void worker_deliver_early(struct worker *w)
{
    if (!mailbox_crowded(&w->box, BATCH_BYTES))
        return;
    mailbox_take(&w->box, &w->tray);
    worker_deliver_slice(w);
    worker_flush(w, WORKER_FLUSH_SLICE);
}
