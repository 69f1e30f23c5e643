#include <stdlib.h>
#include <string.h>

#include "client/backoff.h"
#include "client/carry.h"
#include "client/client.h"
#include "client/level2.h"
#include "hermes/protocol.h"
#include "proto/ws_out.h"

enum { LASTED_MS = 5000 }; /* a connection that lasted this long ends a row of failures */

/* ---- writing ---- */

void connection_drained(struct hermes_client *c)
{
    c->cut = false;
    if (c->events->on_drain)
        c->events->on_drain(c, c->user);
}

static void written(uv_write_t *request, int status)
{
    struct backlog *b = (struct backlog *)request;
    struct hermes_client *c = b->client;
    /* Not ours any more: connection_end has been here, or the client is being freed. */
    if (c->backlog != b) {
        buf_fini(&b->bytes);
        free(b);
        return;
    }
    client_enter(c);
    if (status == 0 || c->freed) {
        c->backlog = NULL;
        c->cut = false;
        group_take_back(c->group, &b->bytes);
        free(b);
        if (client_connected(c) && c->out.len > 0)
            connection_flush(c);
        else if (client_connected(c))
            connection_drained(c);
    } else {
        connection_end(c, uv_strerror(status), true);
        buf_fini(&b->bytes);
        free(b);
    }
    client_leave(c);
}

void connection_flush(struct hermes_client *c)
{
    if (c->backlog || c->out.len == 0)
        return;
    if (c->secure) {
        secure_flush(c);
        return;
    }
    uv_buf_t bytes = uv_buf_init(c->out.data, (unsigned)c->out.len);
    int code = uv_try_write((uv_stream_t *)&c->tcp, &bytes, 1);
    if (code < 0 && code != UV_EAGAIN) {
        connection_end(c, uv_strerror(code), true);
        return;
    }
    size_t sent = code > 0 ? (size_t)code : 0;
    if (sent == c->out.len) {
        group_take_back(c->group, &c->out);
        connection_drained(c);
        return;
    }
    struct backlog *b = calloc(1, sizeof *b);
    if (b) {
        b->client = c;
        b->bytes = c->out;
        bytes = uv_buf_init(b->bytes.data + sent, (unsigned)(b->bytes.len - sent));
        code = uv_write(&b->request, (uv_stream_t *)&c->tcp, &bytes, 1, written);
    }
    if (!b || code != 0) {
        free(b);
        c->out_sent = sent;
        connection_end(c, b ? uv_strerror(code) : "out of memory", true);
        return;
    }
    c->backlog = b;
    c->out = (struct buf){0};
}

static size_t backlog_sent(const struct hermes_client *c)
{
    if (c->backlog->secure)
        return secure_sent(c, c->backlog);
    return c->backlog->bytes.len - uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
}

/* By itself: every publish asks, and there seldom is one. */
static __attribute__((noinline)) size_t with_backlog(const struct hermes_client *c, size_t queued)
{
    return queued + c->backlog->bytes.len - backlog_sent(c);
}

size_t hermes_client_queued_bytes(const struct hermes_client *c)
{
    size_t queued = c->out.len - c->out_sent;
    return c->backlog ? with_backlog(c, queued) : queued;
}

size_t hermes_client_queued_texts(const struct hermes_client *c)
{
    size_t backlog = c->backlog ? carry_count(&c->backlog->bytes, backlog_sent(c)) : 0;
    return backlog + carry_count(&c->out, c->out_sent);
}

/* ---- the life of a connection ---- */

static bool resubscribe(struct hermes_client *c, struct buf *to)
{
    size_t at = 0;
    for (const struct subscription *s; (s = wanted_next(&c->wanted, &at)) != NULL;)
        if (!send_subscribe(c, to, subscription_name(s)))
            return false;
    return true;
}

void connection_open(struct hermes_client *c, char *bytes, size_t len)
{
    dial_free(c->dial);
    c->dial = NULL;
    c->state = CLIENT_OPEN;
    c->opened = c->known = true;
    c->first = true;
    c->pinged = c->overdue = false;
    c->opened_at = c->heard_at = uv_now(c->group->loop);
    client_set_deadline(c, c->settings.ping_ms);
    if (c->paused)
        uv_read_stop((uv_stream_t *)&c->tcp);

    /* Subscriptions go first: what is queued may be published to them. */
    struct buf first = {0};
    if (!(c->level == 2 ? level2_resubscribe(c, &first) : resubscribe(c, &first)))
        first.failed = true;
    if (first.len > 0)
        buf_append(&first, c->out.data, c->out.len);
    if (first.failed) {
        buf_fini(&first);
        connection_end(c, "out of memory", true);
        return;
    }
    if (first.len > 0) {
        buf_fini(&c->out);
        c->out = first;
    }
    if (c->out.len > 0)
        group_due(c->group, &c->due);
    if (c->events->on_open)
        c->events->on_open(c, c->user);
    if (len > 0 && client_connected(c))
        connection_feed(c, bytes, len);
}

void connection_deadline(struct hermes_client *c)
{
    const struct client_settings *s = &c->settings;
    uint64_t now = uv_now(c->group->loop);
    if (c->state == CLIENT_CLOSING) {
        size_t left = hermes_client_queued_bytes(c);
        if (left < c->left && !c->peer_code) {
            c->left = left;
            client_set_deadline(c, s->close_ms);
        } else {
            connection_end(c, "the server does not answer the close", true);
        }
        return;
    }
    if (c->paused)
        c->heard_at = now;
    uint64_t silent = now - c->heard_at;
    if (c->overdue && !c->paused) {
        connection_end(c, "the server does not answer pings", true);
    } else if (c->pinged && !c->paused) {
        /* When it was this process that slept, the pong is there and only has to be read. */
        c->overdue = true;
        client_set_deadline(c, 0);
    } else if (silent < s->ping_ms) {
        client_set_deadline(c, s->ping_ms - (uint32_t)silent);
    } else {
        c->pinged = s->pong_ms != HERMES_CLIENT_NEVER && send_frame(c, WS_PING, NULL, 0);
        client_set_deadline(c, c->pinged ? s->pong_ms : s->ping_ms);
    }
}

/* What of the queue is to go out on the next connection stays in it. A text that was sent in part
 * is sent again, once: not when the server has refused its size, and not when it is cut for the
 * second time, which may be for its size too. Whether anything is left out. */
static bool put_aside(struct hermes_client *c)
{
    struct buf kept = {0};
    bool again = !c->cut && c->peer_code != HERMES_CLOSE_TOO_BIG;
    bool cut;
    if (c->backlog) {
        cut = carry(&kept, &c->backlog->bytes, backlog_sent(c), again);
        (void)carry(&kept, &c->out, 0, again);
    } else {
        cut = carry(&kept, &c->out, c->out_sent, again);
    }
    bool left_out = (cut && !again) || kept.failed;
    if (kept.failed)
        buf_fini(&kept);
    kept.failed = false;
    buf_fini(&c->out);
    c->out = kept;
    c->out_sent = 0;
    c->backlog = NULL; /* its memory goes with its callback */
    c->cut = cut && again;
    return left_out;
}

/* A token that has expired is not shown once more. */
static bool retry_allowed(const struct hermes_client *c, int code)
{
    return (code != HERMES_CLOSE_TOKEN_EXPIRED || c->fresh) && code != HERMES_CLOSE_PROTOCOL &&
           code != HERMES_CLOSE_UNSUPPORTED && code != HERMES_CLOSE_NOT_UTF8 &&
           !(code >= HERMES_CLOSE_NO_RETRY_FIRST && code <= HERMES_CLOSE_NO_RETRY_LAST);
}

/* Of what the server said, which may have served us for that long. */
static uint32_t left_to_wait(const struct hermes_client *c)
{
    uint64_t waited = uv_now(c->group->loop) - c->told_at;
    return waited < c->after_ms ? c->after_ms - (uint32_t)waited : 0;
}

void connection_end(struct hermes_client *c, const char *reason, bool retry)
{
    struct hermes_close why = {
        .code = c->peer_code ? c->peer_code : HERMES_CLOSE_LOST,
        .reason = c->peer_code ? c->peer_reason : reason,
        .reason_len = c->peer_code ? c->peer_reason_len : strlen(reason),
        .opened = c->opened,
        /* A server echoes the code: another one is a close of its own that met ours. */
        .clean = c->peer_code && c->peer_code == c->close_code,
        .tls = (enum hermes_tls_problem)c->tls,
    };
    bool lasted = false;
    client_enter(c);
    if (c->opened) {
        why.left_out = put_aside(c);
        lasted = uv_now(c->group->loop) - c->opened_at >= LASTED_MS;
        if (lasted)
            c->attempts = 0;
        /* Its callbacks may do anything but open the client, which is still ending. */
        c->state = CLIENT_ENDING;
        level2_ended(c);
        if (c->freed) {
            client_leave(c);
            return;
        }
    }
    why.will_retry = retry && c->stay && c->settings.retry_ms != HERMES_CLIENT_NEVER &&
                     retry_allowed(c, c->peer_code);
    c->stay = why.will_retry;
    c->state = why.will_retry ? CLIENT_WAITING : CLIENT_IDLE;
    if (why.will_retry) {
        uint32_t random;
        group_random(c->group, &random, sizeof random);
        why.retry_ms =
            backoff_ms(c->settings.retry_ms, c->settings.retry_max_ms, c->attempts++, random);
        uint32_t left = left_to_wait(c);
        if (c->told_when && (lasted || left > why.retry_ms)) /* not without end, if each time */
            why.retry_ms = left;
    }
    c->told_when = false;
    client_set_deadline(c, why.will_retry ? why.retry_ms : HERMES_CLIENT_NEVER);
    secure_goodbye(c);
    client_close_handle(c);
    list_remove(&c->due);
    dial_free(c->dial);
    c->dial = NULL;
    ws_release(c->group->frames, &c->reader);
    answers_clear(&c->answers);
    char *peer_reason = c->peer_reason;
    c->peer_reason = NULL;
    c->peer_reason_len = 0;
    c->peer_code = c->close_code = 0;
    c->tls = HERMES_TLS_FINE;
    c->opened = c->pinged = c->overdue = false;
    c->ending = NULL;
    if (c->events->on_close)
        c->events->on_close(c, &why, c->user);
    free(peer_reason);
    client_leave(c);
}
