/* What a break of the cluster has cost: who subscribes is told. */
#include "base/die.h"
#include "broker/local.h"
#include "broker/message.h"
#include "proto/reply2.h"
#include "session/catch_up.h"
#include "session/session.h"
#include "session/sse.h"
#include "session/worker.h"

/* CLOSE_SLICE: sessions that are closed in one go. CLOSE_WORK: what one of them costs, in spans. */
enum { CLOSE_SLICE = 256, CLOSE_WORK = 16 };

/* --- of topics -------------------------------------------------------------------------------- */

/* What was logged from `start` on, to so many places: to each session once, and to none that is
 * given the topic's past, for it is told there. */
static size_t give(struct worker *w, const struct message *m, const struct place *places,
    uint32_t count, uint64_t start)
{
    size_t given = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct session *s = session_of(places[i].subscriber);
        if (s->reached == w->choosing || (s->catching > 0 && catch_up_covers(s, m->topic)))
            continue;
        s->reached = w->choosing;
        if (!outbox_add(&w->log, &s->out, start, w->log.end))
            s->unremembered = true;
        worker_touch(w, s);
        given++;
    }
    return given;
}

static size_t tell_topic(struct worker *w, const struct message *m, struct local_topic *local)
{
    struct place *places = local_places(local);
    uint32_t plain = local->plain;
    uint32_t events = (uint32_t)local->events;
    struct text frame = {m->frames, m->len};
    size_t given = 0;
    uint64_t start = w->log.end;
    if (events > 0) {
        /* What comes by a pattern moves nobody's position. */
        const struct buf *event =
            sse_events(w, frame, local->is_pattern ? 0 : local->registered->epoch);
        if (event->failed)
            die("no memory to tell of a gap"); /* it must not be lost in silence */
        log_append(&w->log, event->data, event->len);
        given += give(w, m, places + plain, events, start);
        start = w->log.end;
    }
    if (plain + events < local->count) {
        log_append(&w->log, frame.at, frame.len);
        given += give(w, m, places + plain + events, local->count - plain - events, start);
    }
    return given;
}

/* Nobody could tell those of level 1 what they have missed. False when there are more of them. */
static bool close_plain(struct worker *w, const struct message *m)
{
    const struct local_topic *local;
    for (unsigned most = CLOSE_SLICE;
         (local = local_find(&w->topics, m->hash, m->topic)) != NULL && local->plain > 0; most--) {
        if (most == 0)
            return false;
        session_close(
            session_of(local->cap == 1 ? local->one.subscriber : local->many[0].subscriber),
            CLOSE_MISSED);
    }
    return true;
}

size_t worker_tell_gap(struct worker *w, const struct message *m, bool *told)
{
    *told = !m->lost || close_plain(w, m);
    if (!*told)
        return CLOSE_SLICE * CLOSE_WORK;
    struct local_topic *local = local_find(&w->topics, m->hash, m->topic);
    size_t given = 0;
    w->choosing++;
    if (local)
        given += tell_topic(w, m, local);
    for (uint32_t i = 0; m->matches && i < m->matches->count; i++) {
        const struct pattern *pattern = m->matches->patterns[i];
        local = local_find(&w->topics, pattern->hash, pattern);
        if (local)
            given += tell_topic(w, m, local);
    }
    metric_add(&w->metrics, METRIC_gaps_sent_total, (int64_t)given);
    return given + 1;
}

/* --- of patterns ------------------------------------------------------------------------------ */

/* What was logged from `start` on, to so many places. */
static void give_all(struct worker *w, const struct place *places, uint32_t count, uint64_t start)
{
    for (uint32_t i = 0; i < count; i++) {
        struct session *s = session_of(places[i].subscriber);
        if (!outbox_add(&w->log, &s->out, start, w->log.end))
            s->unremembered = true;
        worker_touch(w, s);
    }
}

/* Logged once for all, so that what many subscribe costs a span each. */
static void tell(struct worker *w, struct local_topic *local)
{
    struct place *places = local_places(local);
    uint32_t events = (uint32_t)local->events;
    uint64_t start = w->log.end;
    buf_clear(&w->scratch);
    reply2_gap_pattern(&w->scratch, pattern_text(&w->shop->route.patterns, local->pattern));
    const struct buf *event = events > 0 ? sse_events(w, buf_text(&w->scratch), 0) : &w->scratch;
    if (w->scratch.failed || event->failed)
        die("no memory to tell of a gap"); /* it must not be lost in silence */
    if (events > 0) {
        log_append(&w->log, event->data, event->len);
        give_all(w, places + local->plain, events, start);
        start = w->log.end;
    }
    if (local->count > local->plain + events) {
        log_append(&w->log, w->scratch.data, w->scratch.len);
        give_all(w, places + local->plain + events, local->count - local->plain - events, start);
    }
}

void worker_tell_missed(struct worker *w)
{
    for (size_t part = 0; part < LOCAL_PARTS; part++) {
        struct local_topic *local;
        size_t at = 0;
        while ((local = map_next(&w->topics.parts[part], &at)) != NULL)
            if (local->is_pattern)
                tell(w, local);
    }
}
