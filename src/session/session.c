#include "session/session.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/die.h"
#include "proto/ws_out.h"
#include "session/aside.h"
#include "session/bearer.h"
#include "session/drain.h"
#include "session/facts.h"
#include "session/far.h"
#include "session/parked.h"
#include "session/secure.h"
#include "session/slow.h"
#include "session/sse.h"
#include "session/waiting.h"
#include "session/worker.h"

/* CLOSE_WAIT_MS: how long a peer that was sent all, a close frame and the end, may take to end its
 * own side. Until then it is still read from: closing a socket with unread input resets it, and the
 * peer might lose the close frame. */
enum { CLOSE_WAIT_MS = 2000, READS_A_ROUND = 4, READ_CROWDED = 4096, UNSENT_READ_MAX = 256 * 1024 };

static const struct {
    int code;
    enum metric metric;
    const char *text;
} reasons[] = {
#define CLOSE_REASON(name, code, metric, text) {code, METRIC_##metric, text},
#include "session/close_reasons.def"
#undef CLOSE_REASON
};

static struct session *session_of_conn(struct conn *conn)
{
    return LIST_ITEM(conn, struct session, conn);
}

void session_open(struct worker *w, const struct connection *connection)
{
    struct session *s = w->draining ? NULL : slab_new(&w->sessions);
    if (s) {
        *s = (struct session){
            .worker = w,
            .refusal = (uint8_t)connection->refusal,
            .heralded = w->shop->proxy_head,
            .unsecured = connection->tls,
            .address = connection->address,
        };
        if (!conn_open(&s->conn, &w->poller, connection->fd)) {
            slab_free(&w->sessions, s);
            s = NULL;
        }
    }
    if (!s) {
        close(connection->fd);
        address_drop(w->shop->addresses, connection->address);
        atomic_fetch_sub(&w->shop->connections, 1);
        return;
    }
    subscriber_init(&s->subscriber);
    deadline_init(&s->deadline);
    if (s->unsecured) {
        list_init(&s->securing);
        session_keep_caller(s);
    }
    s->deadline.since = wheel_tick(&w->wheel);
    metric_add(&w->metrics, METRIC_connections, 1);
    metric_add(&w->metrics, METRIC_connections_total, 1);
    if (w->shop->limits.handshake_ms)
        wheel_set(&w->wheel, &s->deadline, w->shop->limits.handshake_ms);
}

void session_watch(struct session *s)
{
    if (s->state == SESSION_ENDED)
        return;
    conn_watch(&s->conn, &s->worker->poller, !s->paused && !s->full && !s->held && !s->leaving,
        s->blocked);
}

/* The peer has ended with commands of it waiting, which are done first. */
static bool session_parts_later(struct session *s, int farewell)
{
    if (s->state != SESSION_OPEN || !s->parked || s->conn.unframed)
        return false;
    s->aside->farewell = farewell;
    s->leaving = true;
    session_watch(s);
    return true;
}

static void log_close(struct session *s, enum close_reason reason, int code)
{
    bool usual = reason == CLOSE_PEER || reason == CLOSE_LOST || reason == CLOSE_HTTP ||
                 reason == CLOSE_SHUTDOWN || reason == CLOSE_TLS;
    bool slow = reason == CLOSE_TOO_SLOW;
    char from[ENDPOINT_TEXT_MAX];
    LOG_LIMITED(s->worker->shop->logger, slow ? LIMIT_SLOW : LIMIT_CLOSE,
        usual  ? LOG_DEBUG
        : slow ? LOG_WARN
               : LOG_INFO,
        "session closed", LOG_STRING("reason", reasons[reason].text), LOG_NUMBER("code", code),
        LOG_STRING("address", session_caller_text(s, from)));
}

/* What ends with the conversation, whether or not a close frame with the code is still to be sent.
 * `lost` bytes of its queue are thrown away. */
static void session_leave_state(
    struct session *s, enum close_reason reason, int code, uint64_t lost)
{
    struct worker *w = s->worker;
    if (s->state == SESSION_HEAD) {
        if (s->head)
            buf_fini(s->head);
        free(s->head);
        s->head = NULL;
    } else if (s->state == SESSION_OPEN) {
        session_note_closed(s, (uint8_t)reason, lost);
        session_forget_parked(s);
        session_leave_all(s);
        session_forget_waiting(s);
        session_forget_acks(s);
        session_forget_far(s);
        metric_add(&w->metrics, METRIC_sessions, -1);
    }
    if (s->state != SESSION_CLOSING) {
        metric_add(&w->metrics, reasons[reason].metric, 1);
        log_close(s, reason, code);
    }
    session_forget_bearer(s);
    worker_unpause(w, s);
}

static void set_blocked(struct session *s, bool blocked)
{
    if (s->blocked != blocked)
        metric_add(&s->worker->metrics, METRIC_blocked_sessions, blocked ? 1 : -1);
    s->blocked = blocked;
}

void session_end(struct session *s, enum close_reason reason, bool reset)
{
    struct worker *w = s->worker;
    if (s->state == SESSION_ENDED)
        return;
    session_forget_secure(s);
    session_leave_state(s, reason, reasons[reason].code, outbox_unsent(&s->out));
    if (s->state != SESSION_HEAD)
        ws_release(w->readers, &s->reader);
    s->state = SESSION_ENDED;
    worker_untouch(w, s);
    wheel_unset(&w->wheel, &s->deadline);
    set_blocked(s, false);
    metric_add(&w->metrics, METRIC_dropped_bytes_total, (int64_t)outbox_unsent(&s->out));
    outbox_clear(&w->log, &s->out);
    session_forget_gaps(s);
    session_forget_aside(s);
    session_forget_caller(s);
    atomic_fetch_sub(&w->shop->connections, 1);
    metric_add(&w->metrics, METRIC_connections, -1);
    conn_close(&s->conn, &w->poller, reset);
    w->poller.heavy++;
    s->ended_before = w->ended;
    w->ended = s;
}

/* Forgets what is queued but for a frame that is partly sent, if the budget has room for what is
 * left of that; else, and without memory, false. */
static bool session_cut(struct session *s, const struct buf *last)
{
    struct worker *w = s->worker;
    if (s->conn.unframed)
        outbox_find_event(&w->log, &s->out);
    size_t left = outbox_frame_left(&s->out);
    if (last->failed || (w->log.budget && w->log.charged + left > w->log.budget / 2))
        return false;
    metric_add(&w->metrics, METRIC_dropped_bytes_total, (int64_t)(outbox_unsent(&s->out) - left));
    session_forget_gaps(s);
    return outbox_cut(&w->log, &s->out, buf_text(last));
}

/* The last frame is in the worker's scratch buffer. `cut`: what is queued is forgotten for it. */
static void session_say_last(struct session *s, enum close_reason reason, int code, bool cut)
{
    struct worker *w = s->worker;
    if (s->state != SESSION_OPEN) {
        session_end(s, reason, true);
        return;
    }
    const struct buf *last =
        s->conn.unframed ? sse_events(w, buf_text(&w->scratch), 0) : &w->scratch;
    session_leave_state(s, reason, code, cut ? outbox_unsent(&s->out) : 0);
    s->state = SESSION_CLOSING;
    s->full = false;
    s->leaving = false;
    wheel_set(&w->wheel, &s->deadline, w->shop->limits.pong_ms);
    if (!cut) {
        s->patient = reason == CLOSE_SHUTDOWN;
        session_send_bytes(s, buf_text(last));
    } else if (!session_cut(s, last)) {
        session_end(s, reason, true);
    }
    session_watch(s);
}

void session_close(struct session *s, enum close_reason reason)
{
    struct buf *frame = &s->worker->scratch;
    buf_clear(frame);
    ws_close_frame(frame, reasons[reason].code, reasons[reason].text);
    session_say_last(s, reason, reasons[reason].code, s->blocked && reason != CLOSE_SHUTDOWN);
}

void session_dismiss(struct session *s, int code, const char *text)
{
    struct buf *frame = &s->worker->scratch;
    buf_clear(frame);
    ws_close_frame(frame, code, text);
    session_say_last(s, CLOSE_OPERATOR, code, s->blocked);
}

void session_answer_close(struct session *s, int code)
{
    struct buf *frame = &s->worker->scratch;
    if (session_parts_later(s, code))
        return;
    s->peer_closed = true;
    buf_clear(frame);
    if (code == WS_NO_CODE)
        ws_frame(frame, WS_CLOSE, NULL, 0);
    else
        ws_close_frame(frame, code, "");
    session_say_last(s, CLOSE_PEER, reasons[CLOSE_PEER].code, s->blocked);
}

void session_send(struct session *s, struct text frames)
{
    session_send_past(s, frames, 0);
}

void session_send_past(struct session *s, struct text frames, uint64_t epoch)
{
    if (s->conn.unframed)
        sse_send(s, sse_events(s->worker, frames, epoch));
    else
        session_send_bytes(s, frames);
}

void session_send_bytes(struct session *s, struct text bytes)
{
    struct worker *w = s->worker;
    uint64_t start = log_append(&w->log, bytes.at, bytes.len);
    if (!outbox_add(&w->log, &s->out, start, w->log.end))
        s->unremembered = true;
    worker_touch(w, s);
}

/* A sign of life. */
static void heard(struct session *s)
{
    s->deadline.since = wheel_tick(&s->worker->wheel);
    s->pinged = false;
}

/* Nothing is left to send. */
static void session_sent_all(struct session *s)
{
    struct worker *w = s->worker;
    if (s->blocked) {
        set_blocked(s, false);
        s->full = false;
        session_watch(s);
    }
    if (s->state == SESSION_CLOSING && s->peer_closed) {
        session_end(s, CLOSE_PEER, false);
    } else if (s->state == SESSION_CLOSING && !s->finished) {
        /* The peer reads our close frame and then the end; its own end is waited for. */
        s->finished = true;
        conn_finish(&s->conn);
        if (conn_pending(&s->conn)) {
            set_blocked(s, true);
            session_watch(s);
        }
        wheel_set(&w->wheel, &s->deadline, CLOSE_WAIT_MS);
    } else if (s->aside && s->aside->pong_len != NO_PONG && s->state == SESSION_OPEN) {
        buf_clear(&w->scratch);
        ws_frame(&w->scratch, WS_PONG, s->aside->pong, s->aside->pong_len);
        s->aside->pong_len = NO_PONG;
        session_tidy_aside(s);
        if (!w->scratch.failed)
            session_send(s, buf_text(&w->scratch));
    }
}

static void session_flushed(
    struct session *s, enum outbox_state state, const struct outbox_sent *sent)
{
    struct worker *w = s->worker;
    metric_add(&w->metrics, METRIC_writes_total, sent->writes);
    metric_add(&w->metrics, METRIC_bytes_sent_total, (int64_t)sent->bytes);
    s->sent += conn_take_sent(&s->conn, sent->bytes);
    switch (state) {
    case OUTBOX_DONE:
        session_sent_all(s);
        break;
    case OUTBOX_BLOCKED:
        if (sent->bytes > 0)
            heard(s);
        /* Who loses messages may never catch up, and has to be heard all the same now and then. */
        if (sent->bytes > 0 && s->lenient > 0 && s->state == SESSION_OPEN)
            s->full = false;
        if (sent->bytes > 0 && s->patient)
            wheel_set(&w->wheel, &s->deadline, w->shop->limits.pong_ms);
        set_blocked(s, true);
        session_watch(s);
        break;
    case OUTBOX_BROKEN:
        session_end(s, s->peer_closed ? CLOSE_PEER : CLOSE_LOST, false);
        break;
    case OUTBOX_FENCED:
        break; /* session_send_slowly goes on */
    }
}

void session_flush(struct session *s)
{
    struct worker *w = s->worker;
    if (s->unremembered) {
        s->unremembered = false;
        session_close(s, CLOSE_NO_MEMORY);
        return;
    }
    struct outbox_sent sent = {0};
    enum outbox_state state = s->blocked ? session_send_slowly(s, &sent)
                                         : outbox_flush(&w->log, &s->out, &s->conn, &sent);
    session_flushed(s, state, &sent);
}

void session_flush_after(struct session *s, struct iovec piece, ssize_t wrote)
{
    struct outbox_sent sent = {0};
    session_flushed(
        s, outbox_flush_after(&s->worker->log, &s->out, &s->conn, piece, wrote, &sent), &sent);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* The peer ended its side. What is queued for it is still sent, for it may be reading on; when that
 * is done it is gone. */
static void session_read_end(struct session *s)
{
    struct worker *w = s->worker;
    if (session_parts_later(s, FAREWELL_END))
        return;
    if (s->conn.unframed) { /* HTTP knows no client that reads on */
        session_end(s, CLOSE_PEER, false);
        return;
    }
    if (s->state != SESSION_HEAD && !s->blocked)
        session_flush(s);
    if (!s->blocked) {
        session_end(s, s->peer_closed ? CLOSE_PEER : CLOSE_LOST, false);
        return;
    }
    if (s->state == SESSION_OPEN) {
        session_leave_state(s, CLOSE_LOST, reasons[CLOSE_LOST].code, 0);
        s->state = SESSION_CLOSING;
        s->patient = true;
        wheel_set(&w->wheel, &s->deadline, w->shop->limits.pong_ms);
    }
    s->peer_closed = true;
    s->full = true;
    session_watch(s);
}

void session_part(struct session *s, int farewell)
{
    s->leaving = false;
    if (farewell == FAREWELL_END)
        session_read_end(s);
    else
        session_answer_close(s, farewell);
}

/* True when there may be more to read. */
static bool session_read(struct session *s)
{
    struct worker *w = s->worker;
    if (s->heralded)
        return session_read_proxy_head(s);
    if (s->unsecured) {
        session_secure(s);
        return false;
    }
    /* Less at a time while a mailbox is crowded, or commands are kept: who sends is stopped only
     * between two reads. */
    bool little = s->parked || mailbox_crowded(&w->box, w->shop->route.crowded);
    size_t room = little ? READ_CROWDED : READ_BUFFER;
    ssize_t got = conn_read(&s->conn, w->buffer, room);
    if (got == CONN_AGAIN)
        return false;
    if (got == 0) {
        session_read_end(s);
        return false;
    }
    if (got == CONN_BROKEN) {
        session_end(s, s->peer_closed ? CLOSE_PEER : CLOSE_LOST, false);
        return false;
    }
    heard(s);
    metric_add(&w->metrics, METRIC_bytes_received_total, got);
    if (s->state == SESSION_HEAD)
        session_greet(s, w->buffer, (size_t)got);
    else if (!s->deaf)
        session_receive(s, w->buffer, (size_t)got);
    if (s->blocked && s->state == SESSION_OPEN && outbox_unsent(&s->out) > UNSENT_READ_MAX) {
        s->full = true;
        session_watch(s);
    }
    return (size_t)got == room && s->state != SESSION_ENDED && !s->paused && !s->full && !s->held &&
           !s->leaving;
}

void session_ready(struct conn *conn, int events)
{
    struct session *s = session_of_conn(conn);
    if (events & CONN_FAULT && s->unsecured && !s->heralded) {
        session_secure(s); /* why it went may be in what it sent last */
        return;
    }
    if (events & CONN_FAULT) {
        while (session_read(s))
            ;
        session_end(s, s->peer_closed ? CLOSE_PEER : CLOSE_LOST, false);
        return;
    }
    if (events & CONN_WRITABLE && s->unsecured)
        session_secure(s);
    else if (events & CONN_WRITABLE)
        session_flush(s);
    if (events & CONN_READABLE && s->state != SESSION_ENDED)
        for (int i = 0; i < READS_A_ROUND && session_read(s); i++)
            ;
    worker_deliver_early(s->worker);
    worker_relieve(s->worker);
}

/* --- deadlines -------------------------------------------------------------------------------- */

static void ping(struct session *s)
{
    struct worker *w = s->worker;
    buf_clear(&w->scratch);
    ws_frame(&w->scratch, WS_PING, NULL, 0);
    if (!w->scratch.failed)
        session_send(s, buf_text(&w->scratch));
    s->pinged = true;
    if (s->conn.unframed)
        sse_pinged(s);
    else
        s->ahead = (uint32_t)conn_unacknowledged(&s->conn);
    (void)conn_take_sent(&s->conn, 0);
    s->sent = 0;
}

/* Whether its side has taken more of what the kernel holds ahead of our ping since this was last
 * asked: a slow line is no dead one. What was written behind the ping tells nothing. */
static bool session_advanced(struct session *s)
{
    uint32_t before = s->ahead;
    size_t held = conn_unacknowledged(&s->conn);
    s->ahead = held > s->sent ? (uint32_t)(held - s->sent) : 0;
    return s->ahead < before;
}

/* When it is to be looked at again, unless it is heard before. */
static void session_rest(struct session *s, uint64_t ms)
{
    struct worker *w = s->worker;
    wheel_set(&w->wheel, &s->deadline, w->draining ? drain_within(s, ms) : ms);
}

void session_deadline(struct session *s)
{
    struct worker *w = s->worker;
    const struct session_limits *limits = &w->shop->limits;
    if (s->state == SESSION_HEAD) {
        session_end(s, CLOSE_HANDSHAKE_TIMEOUT, false);
        return;
    }
    if (s->state == SESSION_CLOSING) {
        session_end(s, CLOSE_LOST, !s->finished);
        return;
    }
    /* Who is not read from cannot be heard, and a worker that was held up has not read yet. */
    if (s->paused || s->held || s->leaving)
        heard(s);
    else if (s->pinged && !s->full)
        session_read(s);
    if (s->state != SESSION_OPEN || (w->draining && drain_met(s)))
        return;
    if (s->pinged && s->conn.unframed && sse_acknowledged(s)) {
        heard(s);
        s->deadline.since -= (uint32_t)(limits->pong_ms / WHEEL_TICK_MS); /* as of the ping */
    }
    uint64_t silent = (uint64_t)(wheel_tick(&w->wheel) - s->deadline.since) * WHEEL_TICK_MS;
    if (s->pinged && !s->conn.unframed && session_advanced(s)) {
        session_rest(s, limits->pong_ms);
    } else if (s->pinged) {
        session_close(s, CLOSE_NO_PONG);
    } else if (silent < limits->ping_ms) {
        session_rest(s, limits->ping_ms - silent);
    } else {
        ping(s);
        session_rest(s, limits->pong_ms);
    }
}
