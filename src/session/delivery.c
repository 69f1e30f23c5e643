/* From the mailbox to the sockets: what every published message passes on a worker. */
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "broker/backplane.h"
#include "session/catch_up.h"
#include "session/drain.h"
#include "session/inquiry.h"
#include "session/session.h"
#include "session/sse.h"
#include "session/worker.h"

enum {
    SLICE_DELIVERIES = 50000,    /* spans added before the loop polls again */
    CONNECTION_WORK = 200,       /* what a new connection costs, in spans */
    RUN_BYTES = LOG_CHUNK,       /* of one topic, logged before its subscribers are gone through */
    ENVELOPED_KEPT = 512 * 1024, /* bytes that the buffer for level 2 may keep */
    BATCH_BYTES = 128 * 1024,    /* of mail: more costs the cache more than a larger batch saves */
    PREFETCH = 8,
};

/* --- the flush queue -------------------------------------------------------------------------- */

/* Under steady load the queue may never be empty, so its flushed part is dropped now and then. */
static void queue_compact(struct flush_queue *q, struct pulse *pulse)
{
    pulse_shift(pulse, q->at);
    q->count -= q->at;
    memmove(q->sessions, q->sessions + q->at, q->count * sizeof *q->sessions);
    q->at = 0;
    for (size_t i = 0; i < q->count; i++)
        if (q->sessions[i])
            q->sessions[i]->queued = (uint32_t)i + 1;
}

static void queue_reserve(struct worker *w, size_t more)
{
    struct flush_queue *q = &w->queue;
    if (q->cap - q->count >= more)
        return;
    if (q->at > q->cap / 2) {
        queue_compact(q, &w->pulse);
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
    queue_reserve(w, 1);
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
    pulse_flush(&w->pulse, q->at);
    if (q->at == q->count)
        q->at = q->count = 0;
}

/* --- the mail --------------------------------------------------------------------------------- */

/* Messages of one topic that lie one behind the other in the tray: they are side by side in the log
 * and one span to each subscriber. */
struct run {
    const struct message *first;
    size_t end;    /* where it ends in the tray */
    size_t weight; /* of its mail */
    size_t messages;
    size_t given;   /* spans added so far */
    uint32_t stamp; /* of one of them, or 0 */
};

static struct message *message_at(const struct worker *w, size_t at)
{
    return w->tray.mails[at].item;
}

/* The run that begins with what is next in the tray. */
static struct run run_find(const struct worker *w)
{
    const struct tray *tray = &w->tray;
    const struct message *first = message_at(w, tray->at);
    struct run run = {.first = first, .end = tray->at};
    uint64_t offset = first->offset;
    size_t bytes = 0;
    do {
        const struct message *m = message_at(w, run.end);
        if (m->hash != first->hash || m->topic != first->topic || m->offset != offset ||
            m->matches != first->matches || m->except != first->except || m->count == 0)
            break;
        offset += m->count;
        bytes += m->len;
        run.stamp = run.stamp ? run.stamp : m->stamp;
        run.messages += m->count;
        run.weight += tray->mails[run.end++].weight;
    } while (
        run.end < tray->count && tray->mails[run.end].kind == MAIL_MESSAGE && bytes < RUN_BYTES);
    return run;
}

/* Adds what was logged from `start` on to so many places of a topic. */
static void give_all(
    struct worker *w, struct run *run, struct place *places, uint32_t count, uint64_t start)
{
    queue_reserve(w, count);
    for (uint32_t i = 0; i < count; i++) {
        if (i + PREFETCH < count)
            __builtin_prefetch(session_of(places[i + PREFETCH].subscriber), 1);
        struct session *s = session_of(places[i].subscriber);
        if (!outbox_add(&w->log, &s->out, start, w->log.end))
            s->unremembered = true;
        touch_reserved(w, s);
    }
    run->given += count;
}

static bool is_excepted(const struct run *run, const struct session *s)
{
    return run->first->except != 0 && s->client == run->first->except;
}

/* Whether a run that not everyone gets has still to be given to this session. */
static bool is_chosen(const struct worker *w, const struct run *run, const struct session *s)
{
    return !is_excepted(run, s) && s->reached != w->choosing &&
           !(s->catching > 0 && catch_up_covers(s, run->first->topic));
}

/* It had asked for that. */
static void note_own(const struct run *run, struct session *s)
{
    session_note_loss(s, &(struct fact_loss){.kind = FACT_OWN,
                             .hash = run->first->hash,
                             .from = run->first->offset,
                             .to = run->first->offset + run->messages - 1});
}

/* The same as give_all, but once to each session, whatever it subscribes to, and not at all to the
 * one that is excepted. */
static void give_chosen(
    struct worker *w, struct run *run, struct place *places, uint32_t count, uint64_t start)
{
    queue_reserve(w, count);
    for (uint32_t i = 0; i < count; i++) {
        struct session *s = session_of(places[i].subscriber);
        if (!is_chosen(w, run, s)) {
            if (is_excepted(run, s) && run->messages > 0)
                note_own(run, s);
            continue;
        }
        s->reached = w->choosing;
        if (!outbox_add(&w->log, &s->out, start, w->log.end))
            s->unremembered = true;
        touch_reserved(w, s);
        run->given++;
    }
}

/* Writes the run as at level 2, by a topic or a pattern. Returns where its last frame begins. */
static inline size_t envelop(
    struct worker *w, const struct run *run, struct text topic, struct text pattern)
{
    struct buf *out = &w->enveloped;
    size_t last = 0;
    envelope_set(&w->envelope, topic, pattern);
    buf_clear(out);
    for (size_t at = w->tray.at; at < run->end; at++) {
        const struct message *m = message_at(w, at);
        const char *frame = m->frames;
        for (uint32_t i = 0; i < m->count; i++) {
            struct text data;
            frame = message_frame(frame, &data);
            last = out->len;
            envelope_append(out, &w->envelope, data, m->offset + i);
        }
    }
    if (out->failed)
        die("no memory for a message");
    return last;
}

/* Logs what has been enveloped, and marks it for who may lose it. */
static inline void log_enveloped(
    struct worker *w, const struct run *run, struct local_topic *local, size_t last)
{
    struct buf *out = &w->enveloped;
    uint64_t start = log_append(&w->log, out->data, out->len);
    if (local->lenient > 0)
        marks_add(&w->marks, (struct mark){.start = start,
                                 .last = start + last,
                                 .end = w->log.end,
                                 .topic = run->first->hash,
                                 .first = run->first->offset,
                                 .subscribed = local->hash,
                                 .serial = local->serial,
                                 .topic_len = (uint32_t)w->envelope.topic_len,
                                 .count = (uint32_t)run->messages});
}

/* The same as server-sent events, for those who get no frames. `epoch`: see event_stream_append. */
static void log_events(struct worker *w, uint64_t epoch)
{
    const struct buf *events = sse_events(w, buf_text(&w->enveloped), epoch);
    if (events->failed)
        die("no memory for a message");
    log_append(&w->log, events->data, events->len);
    if (events->cap > ENVELOPED_KEPT)
        buf_fini(&w->events);
}

static void deliver_to_topic(
    struct worker *w, struct run *run, struct local_topic *local, bool choosing)
{
    struct place *places = local_places(local);
    local->delivered = run->first->offset + run->messages - 1;
    void (*give)(struct worker *, struct run *, struct place *, uint32_t, uint64_t) =
        choosing ? give_chosen : give_all;
    if (local->plain > 0) {
        uint64_t start = w->log.end;
        for (size_t at = w->tray.at; at < run->end; at++) {
            const struct message *m = message_at(w, at);
            log_append(&w->log, m->frames, m->len);
        }
        give(w, run, places, local->plain, start);
    }
    if (local->plain < local->count) {
        uint32_t first = local->plain + (uint32_t)local->events;
        const struct registry *registry = &w->shop->route.registry;
        size_t last = envelop(w, run, registry_name(registry, local->registered), TEXT(""));
        uint64_t start = w->log.end;
        if (local->events > 0) {
            log_events(w, local->registered->epoch);
            give(w, run, places + local->plain, (uint32_t)local->events, start);
            start = w->log.end;
        }
        if (first < local->count) {
            log_enveloped(w, run, local, last);
            give(w, run, places + first, local->count - first, start);
        }
        if (w->enveloped.cap > ENVELOPED_KEPT)
            buf_fini(&w->enveloped);
    }
}

/* The first of these places that the run has still to be given to. */
static uint32_t first_chosen(const struct worker *w, const struct run *run,
    const struct place *places, uint32_t from, uint32_t end)
{
    while (from < end && !is_chosen(w, run, session_of(places[from].subscriber)))
        from++;
    return from;
}

/* To whoever has not got it by the topic's name or by an older pattern. */
static void deliver_by_pattern(struct worker *w, struct run *run, const struct pattern *pattern)
{
    struct local_topic *local = local_find(&w->topics, pattern->hash, pattern);
    if (!local)
        return;
    uint32_t events = (uint32_t)local->events; /* nobody is of level 1 */
    struct place *places = local_places(local);
    uint32_t i = first_chosen(w, run, places, 0, local->count);
    if (i == local->count)
        return;
    size_t last = envelop(
        w, run, run->first->matches->topic, pattern_text(&w->shop->route.patterns, pattern));
    uint64_t start = w->log.end;
    if (i < events) {
        log_events(w, 0);
        give_chosen(w, run, places + i, events - i, start);
        start = w->log.end;
        i = first_chosen(w, run, places, events, local->count);
    }
    if (i < local->count) {
        log_enveloped(w, run, local, last);
        give_chosen(w, run, places + i, local->count - i, start);
    }
    if (w->enveloped.cap > ENVELOPED_KEPT)
        buf_fini(&w->enveloped);
}

/* Delivers the message that is next in the tray, and those that make one run with it. Returns how
 * much work it was, in spans added. */
static size_t deliver_messages(struct worker *w)
{
    struct tray *tray = &w->tray;
    struct run run = run_find(w);
    const struct match_set *matches = run.first->matches;
    struct local_topic *local = local_find(&w->topics, run.first->hash, run.first->topic);
    bool choosing = matches || run.first->except != 0;
    w->choosing += choosing;
    if (local)
        deliver_to_topic(w, &run, local, choosing);
    for (uint32_t i = 0; matches && i < matches->count; i++)
        deliver_by_pattern(w, &run, matches->patterns[i]);
    /* It may be that its subscribers left while it was on its way: looking for them is work, too.
     */
    size_t looked = 1 + (matches ? matches->count : 0);
    for (; tray->at < run.end; tray->at++)
        message_drop(message_at(w, tray->at)); /* and the matches with the last of them */
    if (run.stamp && run.given > 0)
        pulse_deliver(&w->pulse, run.stamp, w->queue.count);
    mailbox_done(&w->box, run.weight);
    metric_add(&w->metrics, METRIC_deliveries_total, (int64_t)(run.messages * run.given));
    return run.given + looked;
}

/* To those who watch, of a topic or a pattern. */
static void give_event(struct worker *w, struct run *run, struct local_topic *local)
{
    uint32_t first = local->count - local->watchers;
    if (local->watchers == 0)
        return;
    uint64_t start = log_append(&w->log, run->first->frames, run->first->len);
    give_chosen(w, run, local_places(local) + first, local->watchers, start);
}

/* What a topic has lost. It stays in the tray until all have been told. */
static size_t deliver_gap(struct worker *w)
{
    struct tray *tray = &w->tray;
    struct message *m = message_at(w, tray->at);
    bool told;
    size_t work = worker_tell_gap(w, m, &told);
    if (told) {
        mailbox_done(&w->box, tray->mails[tray->at++].weight);
        message_drop(m);
    }
    return work;
}

/* A join or a leave. */
static size_t deliver_event(struct worker *w)
{
    struct tray *tray = &w->tray;
    struct message *m = message_at(w, tray->at);
    struct run run = {.first = m};
    struct local_topic *local = local_find(&w->topics, m->hash, m->topic);
    w->choosing++;
    if (local)
        give_event(w, &run, local);
    for (uint32_t i = 0; m->matches && i < m->matches->count; i++) {
        const struct pattern *pattern = m->matches->patterns[i];
        local = local_find(&w->topics, pattern->hash, pattern);
        if (local)
            give_event(w, &run, local);
    }
    mailbox_done(&w->box, tray->mails[tray->at++].weight);
    message_drop(m);
    return run.given + 1;
}

static size_t deliver_next(struct worker *w)
{
    struct mail mail = w->tray.mails[w->tray.at];
    switch (mail.kind) {
    case MAIL_MESSAGE: {
        const struct message *m = mail.item;
        return m->count > 0                 ? deliver_messages(w)
               : m->event == EVENT_PRESENCE ? deliver_event(w)
                                            : deliver_gap(w);
    }
    case MAIL_CONNECTION: {
        struct connection connection = connection_of(mail);
        w->tray.at++;
        session_open(w, &connection);
        return CONNECTION_WORK;
    }
    case MAIL_RESUME:
        w->tray.at++;
        worker_resume_all(w);
        return 1;
    case MAIL_RULES:
        w->tray.at++;
        w->other_rules = true;
        return 1;
    case MAIL_SWEEP:
        w->tray.at++;
        worker_sweep(w);
        return 1;
    case MAIL_PRESENCE:
        w->tray.at++;
        return 16 + worker_presence(w, mail.item);
    case MAIL_INQUIRY:
        w->tray.at++;
        worker_inquiry_begin(w, mail.item);
        return 1;
    case MAIL_ALIVE:
        w->tray.at++;
        atomic_store_explicit(&w->alive, mail.word, memory_order_relaxed);
        return 1;
    case MAIL_MISSED:
        w->tray.at++;
        worker_tell_missed(w);
        return 16;
    case MAIL_ERRAND:
        w->tray.at++;
        mailbox_done(&w->box, mail.weight);
        errand_finish(mail.item);
        return 16;
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
    if (w->acks.len > 0)
        worker_send_acks(w);
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
