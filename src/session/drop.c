#include "session/drop.h"

#include <stdlib.h>

#include "base/die.h"
#include "proto/envelope.h"
#include "session/arrears.h"
#include "session/worker.h"

enum {
    KEPT_MANY = 512, /* from so many runs on they are not gone through again for a few new ones */
    LEASH = 16,      /* marks of a topic that the session may not have got, one behind the other */
    POLICIES_KNOWN = 16,
};

/* --- planning what is to be dropped ----------------------------------------------------------- */

/* What a subscription loses by, so that it is not looked for at each mark. */
struct known_policy {
    uint64_t subscribed;
    uint32_t serial;
    bool known;
    enum policy policy;
};

struct plan {
    struct session *session;
    uint64_t until;   /* runs that begin before that */
    bool oldest_goes; /* what came by POLICY_DROP_OLDEST, */
    bool newest_goes; /* and by POLICY_LATEST that which is the newest, too */
    size_t leash;     /* marks that are followed from one of a topic to the next */
    struct span now;  /* the span that is gone through */
    struct known_policy known[POLICIES_KNOWN];
    struct span *ranges; /* what is to be forgotten */
    size_t range_count;
    size_t range_cap;
    struct loss *losses; /* what is to be noted */
    size_t loss_count;
    size_t loss_cap;
    uint32_t *last; /* of each topic the last loss's index + 1; 0: free */
    size_t slots;
    size_t kept; /* runs of which something stays */
    uint64_t dropped[POLICY_LATEST + 1];
    bool failed; /* no memory */
};

static void plan_fini(struct plan *p)
{
    free(p->ranges);
    free(p->losses);
    free(p->last);
}

static enum policy policy_of(struct plan *p, const struct mark *mark)
{
    struct known_policy *known = &p->known[mark->subscribed % POLICIES_KNOWN];
    if (known->known && known->subscribed == mark->subscribed && known->serial == mark->serial)
        return known->policy;
    const struct subscription *found =
        subscriber_find_by(&p->session->subscriber, mark->subscribed, mark->serial);
    *known = (struct known_policy){mark->subscribed, mark->serial, true,
        found ? (enum policy)found->policy : POLICY_DISCONNECT};
    return known->policy;
}

static uint64_t last_offset(const struct mark *mark)
{
    return mark->first + mark->count - 1;
}

/* The offset of the frame of that run that begins at `start`. */
static uint64_t offset_at(const struct byte_log *log, const struct mark *mark, uint64_t start)
{
    if (start == mark->start)
        return mark->first;
    uint64_t offset = last_offset(mark);
    for (; start < mark->last; offset--)
        start = outbox_frame(log, start).end;
    return offset;
}

static bool plan_range(struct plan *p, uint64_t start, uint64_t end)
{
    struct span *last = p->range_count > 0 ? &p->ranges[p->range_count - 1] : NULL;
    if (last && last->end == start) {
        last->end = end;
        return true;
    }
    if (p->range_count == p->range_cap) {
        size_t cap = p->range_cap ? p->range_cap * 2 : 16;
        struct span *ranges = realloc(p->ranges, cap * sizeof *ranges);
        if (!ranges)
            return false;
        p->ranges = ranges;
        p->range_cap = cap;
    }
    MUST(p->ranges);
    p->ranges[p->range_count++] = (struct span){start, end};
    return true;
}

static uint32_t *plan_last(const struct plan *p, uint64_t topic)
{
    size_t slot = topic & (p->slots - 1);
    while (p->last[slot] && p->losses[p->last[slot] - 1].topic != topic)
        slot = (slot + 1) & (p->slots - 1);
    return &p->last[slot];
}

static bool plan_grow(struct plan *p)
{
    size_t cap = p->loss_cap ? p->loss_cap * 2 : 16;
    if (cap > UINT32_MAX / 4)
        return false;
    struct loss *losses = realloc(p->losses, cap * sizeof *losses);
    if (!losses)
        return false;
    p->losses = losses;
    uint32_t *last = calloc(2 * cap, sizeof *last);
    if (!last)
        return false;
    free(p->last);
    p->last = last;
    p->slots = 2 * cap;
    p->loss_cap = cap;
    for (size_t i = 0; i < p->loss_count; i++)
        *plan_last(p, p->losses[i].topic) = (uint32_t)i + 1;
    return true;
}

static bool plan_loss(
    struct plan *p, const struct mark *mark, uint64_t start, uint64_t from, uint64_t to)
{
    const struct session *s = p->session;
    if (p->loss_count == p->loss_cap && !plan_grow(p))
        return false;
    uint32_t *last = plan_last(p, mark->topic);
    struct loss *before = *last ? &p->losses[*last - 1] : NULL;
    if (before && before->to + 1 == from && !arrears_parted(s->arrears, before->place, start)) {
        before->to = to;
        return true;
    }
    MUST(p->losses);
    *last = (uint32_t)p->loss_count + 1;
    p->losses[p->loss_count++] = (struct loss){
        .place = start,
        .topic = mark->topic,
        .from = from,
        .to = to,
        .name = outbox_frame(&s->worker->log, start).start + ENVELOPE_TOPIC_AT,
        .name_len = mark->topic_len,
        .policy = (uint32_t)policy_of(p, mark),
    };
    return true;
}

/* Whether the session will get a newer message of the topic than those of that mark: by
 * POLICY_LATEST again, and nothing of it is lost yet. */
static bool is_superseded(struct plan *p, uint64_t number)
{
    const struct session *s = p->session;
    const struct marks *marks = &s->worker->marks;
    const struct mark *mark = marks_at(marks, number);
    for (size_t leash = p->leash; mark->ahead && leash > 0; leash--) {
        number += mark->ahead;
        mark = marks_at(marks, number);
        bool held = mark->last < p->now.end || outbox_holds(&s->out, mark->last);
        if (held && policy_of(p, mark) == POLICY_LATEST)
            return true;
        s->worker->relief++;
    }
    return false;
}

/* The unsent part of a run, whole frames, begins at `start`. */
static void plan_run(struct plan *p, uint64_t number, uint64_t start)
{
    const struct byte_log *log = &p->session->worker->log;
    const struct mark *mark = marks_at(&p->session->worker->marks, number);
    enum policy policy = policy_of(p, mark);
    uint64_t end = mark->end;
    uint64_t to = last_offset(mark);
    if (policy == POLICY_DISCONNECT || (policy == POLICY_DROP_OLDEST && !p->oldest_goes)) {
        p->kept++;
        return;
    }
    if (policy == POLICY_LATEST && !p->newest_goes && !is_superseded(p, number)) {
        p->kept++;
        end = mark->last;
        to--;
    }
    if (start >= end)
        return;
    uint64_t from = offset_at(log, mark, start);
    p->failed = !plan_range(p, start, end) || !plan_loss(p, mark, start, from, to);
    p->dropped[policy] += to + 1 - from;
}

/* Goes over the unsent runs, the oldest first. A run is only ever delivered whole; its front may be
 * sent, and its front or all but a begun frame may have been dropped. */
static void plan_make(struct plan *p)
{
    struct session *s = p->session;
    const struct marks *marks = &s->worker->marks;
    size_t spans = outbox_spans(&s->out);
    uint64_t end = marks_end(marks);
    for (size_t i = 0; i < spans && !p->failed; i++) {
        p->now = outbox_span(&s->out, i);
        if (i == 0)
            p->now.start += outbox_begun(&s->worker->log, &s->out);
        if (p->now.start >= p->until)
            break;
        s->worker->relief++;
        for (uint64_t n = marks_from(marks, p->now.start); n < end && !p->failed; n++) {
            const struct mark *mark = marks_at(marks, n);
            if (mark->start >= p->now.end || mark->start >= p->until)
                break;
            s->worker->relief++;
            /* Of a run whose frame is begun, all behind that may have been dropped before. */
            if (mark->end <= p->now.end)
                plan_run(p, n, mark->start > p->now.start ? mark->start : p->now.start);
        }
    }
}

/* --- dropping --------------------------------------------------------------------------------- */

static void note_losses(const struct plan *p)
{
    for (size_t i = 0; i < p->loss_count; i++) {
        const struct loss *loss = &p->losses[i];
        session_note_loss(p->session, &(struct fact_loss){.kind = FACT_DROPPED,
                                          .why = (uint8_t)loss->policy,
                                          .hash = loss->topic,
                                          .from = loss->from,
                                          .to = loss->to});
    }
}

/* With no memory for it nothing is dropped, or the session is given up. */
static void plan_carry_out(struct plan *p)
{
    struct session *s = p->session;
    struct worker *w = s->worker;
    if (p->range_count == 0 || p->failed ||
        !outbox_forget(&w->log, &s->out, p->ranges, p->range_count))
        return;
    metric_add(&w->metrics, METRIC_dropped_oldest_total, (int64_t)p->dropped[POLICY_DROP_OLDEST]);
    metric_add(&w->metrics, METRIC_dropped_latest_total, (int64_t)p->dropped[POLICY_LATEST]);
    w->relief += s->arrears->count + p->loss_count;
    note_losses(p);
    if (!arrears_add(s->arrears, &w->log, p->losses, p->loss_count))
        session_give_up(s);
}

static void plan_run_through(struct plan *p)
{
    struct session *s = p->session;
    struct worker *w = s->worker;
    if (w->marks.count > 0 && arrears_take(&s->arrears, &w->log)) {
        plan_make(p);
        plan_carry_out(p);
    }
    plan_fini(p);
}

void session_shed(struct session *s, uint64_t until)
{
    struct plan plan = {.session = s, .until = until, .oldest_goes = true, .newest_goes = true};
    if (s->lenient > 0)
        plan_run_through(&plan);
}

void session_shed_older(struct session *s, uint64_t until)
{
    bool much = outbox_before(&s->out, UINT64_MAX, LOG_CHUNK) > LOG_CHUNK;
    struct plan plan = {.session = s, .until = until, .oldest_goes = much, .leash = LEASH};
    if (s->latest || (much && s->lenient > 0))
        plan_run_through(&plan);
}

void session_conflate(struct session *s)
{
    struct plan plan = {.session = s, .until = UINT64_MAX, .leash = SIZE_MAX};
    const struct arrears *a = s->arrears;
    bool pays = !a || a->kept < KEPT_MANY || marks_behind(&s->worker->marks, a->seen) > a->kept / 4;
    if (!s->latest || !pays)
        return;
    plan_run_through(&plan);
    if (s->arrears && !plan.failed) {
        s->arrears->kept = plan.kept;
        s->arrears->seen = s->worker->log.end;
    }
}

void session_give_up(struct session *s)
{
    s->unremembered = true;
    worker_touch(s->worker, s);
}
