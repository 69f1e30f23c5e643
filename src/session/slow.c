#include "session/slow.h"

#include "proto/reply2.h"
#include "session/arrears.h"
#include "session/drop.h"
#include "session/worker.h"

enum {
    COPY_OUT_MAX = 16 * 1024, /* unsent bytes of a session that are few */
    STAGE_MAX = 16 * 1024,    /* of what is sent by one write with gaps in it */
    OWN_PART = 8,             /* the part of the budget for one session's gaps and copies, */
    GAPS_PART = 8,            /* and that for the gaps of all, */
    GAPS_LEAST = 4 * 1024,    /* but for those of who has so few */
};

/* --- telling ---------------------------------------------------------------------------------- */

static void fence(struct session *s)
{
    const struct note *note = arrears_first(s->arrears);
    outbox_fence(&s->out, note ? note->place : OUTBOX_NO_FENCE);
}

/* Tells the first note, which stands in front of the spans. */
static bool tell(struct session *s, struct buf *text)
{
    struct byte_log *log = &s->worker->log;
    const struct note *note = arrears_first(s->arrears);
    buf_clear(text);
    reply2_gap(text, (struct text){note->name, note->name_len}, note->from, note->to);
    if (text->failed || !outbox_tell(log, &s->out, buf_text(text)))
        return false;
    outbox_excuse(&s->out, text->len);
    arrears_pop(s->arrears, log);
    metric_add(&s->worker->metrics, METRIC_gaps_sent_total, 1);
    return true;
}

/* Puts together what is to be sent next: gap frames, and what lies between them where that is
 * little. The rest is sent from the log up to the next gap. */
static bool stage(struct session *s)
{
    struct outbox *box = &s->out;
    struct buf text = {0};
    const struct note *note;
    bool good = true;
    while (good && (note = arrears_first(s->arrears)) != NULL && outbox_private(box) < STAGE_MAX &&
           outbox_before(box, note->place, STAGE_MAX) <= STAGE_MAX)
        good = outbox_move_out(&s->worker->log, box, note->place) && tell(s, &text);
    buf_fini(&text);
    fence(s);
    return good;
}

enum outbox_state session_send_slowly(struct session *s, struct outbox_sent *sent)
{
    enum outbox_state state = OUTBOX_FENCED;
    session_conflate(s);
    while (state == OUTBOX_FENCED) {
        if (!s->unremembered && !stage(s))
            session_give_up(s);
        if (s->unremembered)
            return OUTBOX_BLOCKED;
        state = outbox_flush(&s->worker->log, &s->out, &s->conn, sent);
    }
    if (state == OUTBOX_DONE)
        session_forget_gaps(s); /* none is left */
    return state;
}

void session_part_gaps(struct session *s)
{
    struct worker *w = s->worker;
    bool may_lose = !outbox_empty(&s->out) && marks_behind(&w->marks, s->out.first.start) > 0;
    if (s->state != SESSION_OPEN || (!may_lose && !arrears_first(s->arrears)))
        return;
    if (!s->blocked)
        session_flush(s); /* what cannot be sent at once may be lost */
    /* Without memory offsets that follow each other are told as one, which is no lie. */
    if (s->blocked && arrears_take(&s->arrears, &w->log))
        (void)arrears_part(s->arrears, &w->log, w->log.end);
}

void session_forget_gaps(struct session *s)
{
    arrears_free(s->arrears, &s->worker->log);
    s->arrears = NULL;
}

/* --- letting go of the first chunk ------------------------------------------------------------ */

static bool holds_first_chunk(const struct session *s)
{
    const struct span *first = &s->out.first;
    return first->start != first->end && first->start < s->worker->log.base + LOG_CHUNK;
}

/* Copies out what it holds of the first chunk, and tells the gaps that are in between. */
static bool copy_out(struct session *s)
{
    struct byte_log *log = &s->worker->log;
    uint64_t end = log->base + LOG_CHUNK;
    struct buf text = {0};
    bool good;
    do {
        const struct note *note = arrears_first(s->arrears);
        good = outbox_move_out(log, &s->out, note && note->place < end ? note->place : end) &&
               (!holds_first_chunk(s) || tell(s, &text));
    } while (good && holds_first_chunk(s));
    buf_fini(&text);
    fence(s);
    return good;
}

static bool copy_out_few(struct session *s)
{
    return outbox_few(&s->worker->log, &s->out, COPY_OUT_MAX) && copy_out(s);
}

/* The same, but what is there of a frame that has begun, which nobody can drop, may be more. */
static bool copy_out_begun(struct session *s)
{
    struct byte_log *log = &s->worker->log;
    uint64_t begun = outbox_begun(log, &s->out);
    uint64_t in_chunk = log->base + LOG_CHUNK - s->out.first.start;
    size_t rest = (size_t)(begun < in_chunk ? begun : in_chunk);
    if (log->charged + rest > log->budget / 2 || !outbox_few(log, &s->out, COPY_OUT_MAX + rest) ||
        !copy_out(s))
        return false;
    outbox_excuse(&s->out, rest);
    return true;
}

/* Gaps and copies of one session must not use up what is there for all, and the gaps of many who
 * lose of many topics not take the log's place: it would be emptied for them, chunk by chunk. */
static bool owes_little(const struct session *s, size_t copies)
{
    const struct byte_log *log = &s->worker->log;
    size_t gaps = s->arrears ? s->arrears->charged : 0;
    return gaps + copies <= log->budget / OWN_PART &&
           (gaps <= GAPS_LEAST || log->owed <= log->budget / GAPS_PART);
}

bool session_let_go(struct session *s)
{
    struct byte_log *log = &s->worker->log;
    if (!holds_first_chunk(s))
        return false; /* then nobody does, and what is too much is not in the log */
    session_shed_older(s, log->base + LOG_CHUNK);
    if (s->unremembered)
        return true;
    if (!owes_little(s, 0))
        return false;
    if (!holds_first_chunk(s))
        return true;
    bool affordable = log->charged < log->budget / 2 && owes_little(s, outbox_private(&s->out));
    if (affordable && copy_out_few(s))
        return true;
    if (s->lenient == 0)
        return false;
    session_shed(s, log->base + LOG_CHUNK);
    if (s->unremembered)
        return true;
    if (!owes_little(s, 0))
        return false;
    return !holds_first_chunk(s) || (affordable && copy_out_begun(s));
}
