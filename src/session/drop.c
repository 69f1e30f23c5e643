#include "session/drop.h"

#include <stdlib.h>

#include "base/die.h"
#include "proto/envelope.h"
#include "session/arrears.h"
#include "session/worker.h"

/* From so many runs on they are not gone through again for a few new ones. */
enum { KEPT_MANY = 512 };

/* --- planning what is to be dropped ----------------------------------------------------------- */

/* The unsent messages of one run, and those of them that go: [start, end), possibly none. */
struct drop {
    const struct mark *mark;
    uint64_t start;
    uint64_t end;
    uint64_t from; /* offset of the first */
    uint64_t to;   /* less than `from`: none */
};

struct plan {
    struct session *session;
    uint64_t until; /* runs that begin before that */
    struct drop *drops;
    size_t count;
    size_t cap;
    size_t kept;    /* runs of which something stays */
    uint32_t *last; /* of each topic the last drop's index + 1; 0: free */
    size_t slots;
    bool conflates; /* else everything goes that may */
    bool failed;    /* no memory */
};

static void plan_fini(struct plan *p)
{
    free(p->drops);
    free(p->last);
}

static enum policy policy_of(struct session *s, const struct mark *mark)
{
    const struct subscription *found =
        subscriber_find_by(&s->subscriber, mark->subscribed, mark->serial);
    return found ? (enum policy)found->policy : POLICY_DISCONNECT;
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

static uint32_t *plan_last(const struct plan *p, uint64_t topic)
{
    size_t slot = topic & (p->slots - 1);
    while (p->last[slot] && p->drops[p->last[slot] - 1].mark->topic != topic)
        slot = (slot + 1) & (p->slots - 1);
    return &p->last[slot];
}

static bool plan_reserve(struct plan *p)
{
    if (p->count < p->cap)
        return true;
    size_t cap = p->cap ? p->cap * 2 : 32;
    struct drop *drops = realloc(p->drops, cap * sizeof *drops);
    if (drops)
        p->drops = drops;
    uint32_t *last = drops && p->conflates ? calloc(cap * 2, sizeof *last) : NULL;
    if (!drops || (p->conflates && !last) || cap > UINT32_MAX / 4) {
        free(last);
        p->failed = true;
        return false;
    }
    p->cap = cap;
    if (!p->conflates)
        return true;
    free(p->last);
    p->last = last;
    p->slots = cap * 2;
    for (size_t i = 0; i < p->count; i++)
        *plan_last(p, p->drops[i].mark->topic) = (uint32_t)i + 1;
    return true;
}

/* The unsent part of a run, whole frames, begins at `start`. */
static void plan_run(struct plan *p, const struct mark *mark, uint64_t start)
{
    struct session *s = p->session;
    enum policy policy = policy_of(s, mark);
    p->kept++;
    if (p->conflates ? policy != POLICY_LATEST : policy == POLICY_DISCONNECT)
        return;
    if (!plan_reserve(p))
        return;
    struct drop drop = {.mark = mark, .start = start, .end = mark->end, .to = last_offset(mark)};
    drop.from = offset_at(&s->worker->log, mark, start);
    if (p->conflates) {
        uint32_t *last = plan_last(p, mark->topic);
        if (*last) { /* it is the newest no longer */
            struct drop *older = &p->drops[*last - 1];
            older->end = older->mark->end;
            older->to = last_offset(older->mark);
            p->kept--;
        }
        *last = (uint32_t)p->count + 1;
        drop.end = mark->last;
        drop.to--;
    }
    p->drops[p->count++] = drop;
}

/* Goes over the unsent runs, the oldest first. A run is only ever delivered whole; its front may be
 * sent, and its front or all but a begun frame may have been dropped. */
static void plan_make(struct plan *p)
{
    struct session *s = p->session;
    const struct marks *marks = &s->worker->marks;
    size_t spans = outbox_spans(&s->out);
    for (size_t i = 0; i < spans && !p->failed; i++) {
        struct span span = outbox_span(&s->out, i);
        if (i == 0)
            span.start += outbox_begun(&s->worker->log, &s->out);
        if (span.start >= p->until)
            break;
        const struct mark *mark = marks_from(marks, span.start);
        while (mark && mark->start < span.end && mark->start < p->until && !p->failed) {
            /* Of a run whose frame is begun, all behind that may have been dropped before. */
            if (mark->end <= span.end)
                plan_run(p, mark, mark->start > span.start ? mark->start : span.start);
            mark = marks_next(marks, mark);
        }
    }
}

/* --- dropping --------------------------------------------------------------------------------- */

static void count_dropped(struct session *s, const struct drop *drop)
{
    enum metric metric = policy_of(s, drop->mark) == POLICY_LATEST ? METRIC_dropped_latest_total
                                                                   : METRIC_dropped_oldest_total;
    metric_add(&s->worker->metrics, metric, (int64_t)(drop->to - drop->from + 1));
}

static struct loss loss_of(const struct byte_log *log, const struct drop *drop)
{
    return (struct loss){
        .place = drop->start,
        .topic = drop->mark->topic,
        .from = drop->from,
        .to = drop->to,
        .name = outbox_frame(log, drop->start).start + ENVELOPE_TOPIC_AT,
        .name_len = drop->mark->topic_len,
    };
}

/* With no memory for it nothing is dropped, or the session is given up. */
static void plan_carry_out(struct plan *p)
{
    struct session *s = p->session;
    struct byte_log *log = &s->worker->log;
    size_t count = 0;
    for (size_t i = 0; i < p->count; i++)
        if (p->drops[i].start < p->drops[i].end)
            p->drops[count++] = p->drops[i];
    if (count == 0 || p->failed || !arrears_take(&s->arrears, log))
        return;
    struct span *ranges = malloc(count * sizeof *ranges);
    struct loss *losses = malloc(count * sizeof *losses);
    for (size_t i = 0; ranges && losses && i < count; i++) {
        ranges[i] = (struct span){p->drops[i].start, p->drops[i].end};
        losses[i] = loss_of(log, &p->drops[i]);
    }
    if (ranges && losses && outbox_forget(log, &s->out, ranges, count)) {
        for (size_t i = 0; i < count; i++)
            count_dropped(s, &p->drops[i]);
        if (!arrears_add(s->arrears, log, losses, count))
            session_give_up(s);
    }
    free(ranges);
    free(losses);
}

void session_shed(struct session *s, uint64_t until)
{
    struct plan plan = {.session = s, .until = until};
    if (s->lenient > 0 && s->worker->marks.count > 0) {
        plan_make(&plan);
        plan_carry_out(&plan);
    }
    plan_fini(&plan);
}

void session_conflate(struct session *s)
{
    struct plan plan = {.session = s, .until = UINT64_MAX, .conflates = true};
    if (s->lenient == 0 || s->worker->marks.count == 0)
        return;
    plan_make(&plan);
    plan_carry_out(&plan);
    plan_fini(&plan);
    if (plan.kept >= KEPT_MANY && arrears_take(&s->arrears, &s->worker->log)) {
        s->arrears->kept = plan.kept;
        s->arrears->seen = s->worker->log.end;
    }
}

bool session_conflating_pays(const struct session *s)
{
    const struct arrears *a = s->arrears;
    return !a || a->kept < KEPT_MANY || marks_behind(&s->worker->marks, a->seen) > a->kept / 4;
}

void session_give_up(struct session *s)
{
    s->unremembered = true;
    worker_touch(s->worker, s);
}
