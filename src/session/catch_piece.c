#include <string.h>

#include "proto/json.h"
#include "proto/reply2.h"
#include "session/catch_up_state.h"
#include "session/worker.h"

/* PIECE: bytes of data given at once. PIECES: how many in one turn, to whomever. FOUND: bytes that
 * are kept for those who do not take them now, all together; FOUND_PART: of the budget, at most. */
enum { PIECE = CATCH_UP_PIECE, PIECES = 16, FOUND = 16 << 20, FOUND_PART = 16 };

/* What the history does not have any more, up to and without `next`. */
static void write_gap(struct buf *out, struct catch_up *c, uint64_t next)
{
    struct buf topic = {0};
    json_string_append(&topic, (struct text){c->name, c->name_len});
    reply2_gap(out, buf_text(&topic), c->next, next - 1);
    out->failed |= topic.failed;
    buf_fini(&topic);
    session_note_loss(c->session, &(struct fact_loss){.kind = FACT_FORGOTTEN,
                                      .hash = c->hash,
                                      .epoch = c->epoch,
                                      .from = c->next,
                                      .to = next - 1});
    c->next = next;
}

static struct buf *piece_begin(struct catch_up *c)
{
    struct worker *w = c->session->worker;
    envelope_set(&w->envelope, (struct text){c->name, c->name_len}, TEXT(""));
    buf_clear(&w->enveloped);
    return &w->enveloped;
}

static void write_message(struct buf *out, struct catch_up *c, uint64_t offset, struct text data)
{
    struct worker *w = c->session->worker;
    if (offset > c->next) {
        metric_add(&w->metrics, METRIC_gaps_sent_total, 1);
        write_gap(out, c, offset);
    }
    envelope_append(out, &w->envelope, data, offset);
    c->next = offset + 1;
}

static void piece_send(struct catch_up *c, struct buf *out)
{
    struct session *s = c->session;
    if (out->failed)
        session_close(s, CLOSE_NO_MEMORY);
    else if (out->len > 0)
        session_send_past(s, buf_text(out), c->epoch);
    if (out->cap > 2 * PIECE)
        buf_fini(out);
}

/* Sends what the view has, until that comes to `most` bytes. */
static void send_piece(struct catch_up *c, struct history_view *view, size_t most)
{
    struct buf *out = piece_begin(c);
    struct text data;
    uint64_t offset;
    while (out->len < most && history_view_next(view, &offset, &data))
        write_message(out, c, offset, data);
    piece_send(c, out);
}

/* Sends what has been fetched. */
static void send_found(struct catch_up *c)
{
    struct buf *out = piece_begin(c);
    struct buf found = c->found;
    const char *frame = found.data;
    c->session->worker->catching_found -= found.len;
    c->found = (struct buf){0}; /* it may end with this */
    for (uint32_t i = 0; i < c->found_count; i++) {
        struct text data;
        frame = message_frame(frame, &data);
        if (c->found_first + i >= c->next)
            write_message(out, c, c->found_first + i, data);
    }
    c->found_count = 0;
    piece_send(c, out);
    buf_fini(&found);
}

/* Offsets have started anew: what of the old ones was missed is not known, of the new ones all that
 * is in front of `next`. */
static void begin_anew(struct catch_up *c, uint64_t epoch, uint64_t next)
{
    struct session *s = c->session;
    struct buf topic = {0};
    struct buf *out = &s->worker->enveloped;
    buf_clear(out);
    json_string_append(&topic, (struct text){c->name, c->name_len});
    reply2_gap_anew(out, buf_text(&topic), epoch, 1, next - 1);
    out->failed |= topic.failed;
    buf_fini(&topic);
    catch_up_forget_fetched(c);
    c->epoch = epoch;
    c->next = next;
    c->gone = next;
    metric_add(&s->worker->metrics, METRIC_gaps_sent_total, 1);
    piece_send(c, out);
}

/* The rest is in the view, and all that is published from now on is in the mailbox: the session
 * joins. */
static void finish(struct catch_up *c, struct route_piece *piece)
{
    struct session *s = c->session;
    struct worker *w = s->worker;
    worker_deliver(w); /* what is in the view, too, and not for this session */
    if (s->state != SESSION_OPEN)
        return; /* and `c` is gone */
    send_piece(c, &piece->view, SIZE_MAX);
    if (s->state != SESSION_OPEN)
        return;
    if (c->next <= piece->offset) { /* nothing is kept any more */
        buf_clear(&w->enveloped);
        write_gap(&w->enveloped, c, piece->offset + 1);
        metric_add(&w->metrics, METRIC_gaps_sent_total, 1);
        session_send(s, buf_text(&w->enveloped));
    }
    struct join join = {.enveloped = s->enveloped,
        .policy = c->policy,
        .watches = c->watches,
        .delivered = piece->offset,
        .events = s->conn.unframed};
    struct registry_topic *topic = c->topic;
    if (!local_join(&w->topics, (struct local_key){c->hash, topic, false}, &s->subscriber, join)) {
        session_close(s, CLOSE_NO_MEMORY);
        return;
    }
    session_count_policy(s, c->policy, 1);
    metric_add(&w->metrics, METRIC_subscriptions, 1);
    catch_up_free(c);
}

/* The first message that is here. */
static uint64_t first_of(const struct route_piece *piece)
{
    const struct history_view *view = &piece->view;
    return view->first <= view->last ? view->first : piece->offset + 1;
}

static struct route_piece look(const struct catch_up *c, uint64_t from)
{
    struct worker *w = c->session->worker;
    struct text name = {c->name, c->name_len};
    return route_piece(&w->shop->route, worker_rule(w, name), w->index, &w->tray, c->hash, name,
        from, (struct piece_limits){PIECE, catch_up_around(c->name_len)});
}

/* False when it has to wait, and what for brings mail. */
static bool give_piece(struct catch_up *c)
{
    enum { GIVES, JOINS, WAITS } what = GIVES;
    struct worker *w = c->session->worker;
    if (c->found_count > 0) {
        send_found(c);
        return true;
    }
    struct route_piece piece = look(c, c->next);
    if (piece.epoch != c->epoch) {
        history_view_fini(&piece.view);
        piece = look(c, 1);
        begin_anew(c, piece.epoch, first_of(&piece));
    } else if (c->next > piece.offset + 1) { /* it was further elsewhere than the topic is here */
        what = WAITS;
    } else if (c->next < first_of(&piece) && catch_up_fetch(c, first_of(&piece))) {
        what = WAITS;
    } else if (piece.last) {
        what = JOINS;
    } else {
        send_piece(c, &piece.view, PIECE);
    }
    if (what == JOINS)
        finish(c, &piece);
    else
        worker_deliver(w); /* the mail that may have been taken with it */
    history_view_fini(&piece.view);
    return what != WAITS;
}

static bool has_found_too_much(const struct worker *w)
{
    size_t share = w->log.budget / FOUND_PART;
    return w->catching_found > (share != 0 && share < FOUND ? share : FOUND);
}

bool worker_catch_up(struct worker *w)
{
    bool more = false;
    unsigned pieces = PIECES;
    /* From the front to the end, each once: what one piece leads to may end any of the others. */
    for (uint32_t left = w->catching_count; left > 0 && !list_empty(&w->catching); left--) {
        struct catch_up *c = LIST_ITEM(w->catching.next, struct catch_up, node);
        struct session *s = c->session;
        bool ready = !s->blocked && outbox_unsent(&s->out) <= PIECE;
        if (ready && (pieces == 0 || log_over(&w->log)))
            return true; /* it comes first next time */
        list_remove(&c->node);
        list_append(&w->catching, &c->node);
        if (!ready && c->found_count > 0 && has_found_too_much(w))
            catch_up_drop_found(c); /* it is fetched anew then */
        if (!ready || c->fetching || c->again_ms > 0 || (c->wants && s->fetching))
            continue;
        pieces--;
        more |= give_piece(c);
    }
    return more;
}
