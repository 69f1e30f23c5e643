#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "client/level2.h"
#include "hermes/protocol.h"

static bool on_message(void *user, enum ws_opcode opcode, char *payload, size_t len)
{
    struct hermes_client *c = user;
    const struct hermes_client_events *events = c->events;
    if (opcode != WS_TEXT) {
        c->ending = "the server sent a binary frame";
        return false;
    }
    enum answers_when when = c->first              ? ANSWERS_FIRST
                             : c->wanted.all.count ? ANSWERS_SUBSCRIBED
                                                   : ANSWERS_ALONE;
    c->first = false;
    if (events->on_message)
        events->on_message(c, payload, len, c->user);
    if (!client_connected(c))
        return false;
    if (c->level == 2)
        return level2_heard(c, payload, len);
    if (!client_tells_apart(c))
        return true;
    struct hermes_answer answer;
    if (answers_match(&c->answers, when, payload, len, &answer)) {
        answer.space = &c->group->rows;
        if (events->on_answer)
            events->on_answer(c, &answer, c->user);
    } else if (events->on_data) {
        events->on_data(c, payload, len, c->user);
    }
    return client_connected(c);
}

static bool on_ping(void *user, const char *payload, size_t len)
{
    struct hermes_client *c = user;
    /* Pongs that the server does not read are not piled up. */
    if (c->state == CLIENT_OPEN && hermes_client_queued_bytes(c) <= c->settings.max_queued)
        (void)send_frame(c, WS_PONG, payload, len);
    return true;
}

static bool on_pong(void *user, const char *payload, size_t len)
{
    struct hermes_client *c = user;
    uint64_t token;
    if (len != sizeof token || !c->events->on_confirm)
        return true;
    memcpy(&token, payload, sizeof token);
    c->events->on_confirm(c, token, c->user);
    return client_connected(c);
}

static bool on_close(void *user, int code, const char *reason, size_t len)
{
    struct hermes_client *c = user;
    c->peer_code = (uint16_t)code;
    c->peer_reason = len ? malloc(len) : NULL;
    if (c->peer_reason) {
        memcpy(c->peer_reason, reason, len);
        c->peer_reason_len = (uint8_t)len;
    }
    if (c->state == CLIENT_OPEN) {
        uint8_t body[2] = {(uint8_t)(code >> 8), (uint8_t)code};
        (void)send_frame(c, WS_CLOSE, body, code == HERMES_CLOSE_NO_CODE ? 0 : 2);
        c->state = CLIENT_CLOSING;
    }
    /* It is the server that ends the TCP connection, so that its side has to remember it. */
    c->left = 0;
    client_set_deadline(c, c->settings.close_ms);
    return false;
}

static const struct ws_events frame_events = {on_message, on_ping, on_pong, on_close};

static const char *fault_text(int code)
{
    switch (code) {
    case HERMES_CLOSE_NOT_UTF8:
        return "the server sent text that is not UTF-8";
    case HERMES_CLOSE_TOO_BIG:
        return "the server sent a message over the limit";
    case HERMES_CLOSE_INTERNAL:
        return "out of memory";
    default:
        return "the server violated the WebSocket protocol";
    }
}

/* What the socket takes at once. */
static size_t write_some(struct hermes_client *c)
{
    uv_buf_t rest = uv_buf_init(c->out.data, (unsigned)c->out.len);
    int written = uv_try_write((uv_stream_t *)&c->tcp, &rest, 1);
    return written > 0 ? (size_t)written : 0;
}

void connection_feed(struct hermes_client *c, char *bytes, size_t len)
{
    if (c->peer_code)
        return;
    int code = ws_feed(c->group->frames, &c->reader, bytes, len, &frame_events, c);
    if (!client_connected(c))
        return;
    if (c->ending)
        code = HERMES_CLOSE_UNSUPPORTED;
    if (code == 0)
        return;
    uint8_t body[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    if (!c->backlog && send_frame(c, WS_CLOSE, body, sizeof body))
        c->out_sent = c->secure ? secure_try(c) : write_some(c);
    connection_end(c, c->ending ? c->ending : fault_text(code), true);
}

static void give_bytes(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)suggested;
    struct hermes_client *c = handle->data;
    *out = uv_buf_init(c->group->bytes, sizeof c->group->bytes);
}

void connection_lost(struct hermes_client *c, int error)
{
    if (c->state == CLIENT_DIALLING)
        dial_failed(c, error == UV_EOF ? UV_ECONNRESET : error);
    else
        connection_end(c,
            error == UV_EOF ? "the server ended the connection without a word" : uv_strerror(error),
            true);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *bytes)
{
    struct hermes_client *c = stream->data;
    bool dialling = c->state == CLIENT_DIALLING;
    if (len == 0 || c->freed || (!dialling && !client_connected(c)))
        return;
    client_enter(c);
    if (len > 0) {
        c->heard_at = uv_now(c->group->loop);
        c->pinged = c->overdue = false;
        if (dialling)
            dial_bytes(c, bytes->base, (size_t)len);
        else
            connection_feed(c, bytes->base, (size_t)len);
    } else {
        connection_lost(c, (int)len);
    }
    client_leave(c);
}

int connection_read(struct hermes_client *c)
{
    return uv_read_start((uv_stream_t *)&c->tcp, give_bytes, c->secure ? secure_on_read : on_read);
}
