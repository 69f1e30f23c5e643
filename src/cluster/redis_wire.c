#include "cluster/redis_wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cluster/redis_wire_state.h"
#include "net/tls_client.h"

enum { READ_BYTES = 64 << 10, ENCRYPT_AT_ONCE = 64 << 10 };

/* ---- staying while a callback runs ---- */

static void wire_free(struct redis_wire *w)
{
    uv_freeaddrinfo(w->found);
    free(w->in);
    free(w);
}

void redis_wire_enter(struct redis_wire *w)
{
    w->inside++;
}

void redis_wire_leave(struct redis_wire *w)
{
    if (--w->inside == 0 && w->closed)
        wire_free(w);
}

void redis_wire_broken(struct redis_wire *w, const char *reason)
{
    if (w->closed || w->state == WIRE_BROKEN)
        return;
    w->state = WIRE_BROKEN;
    w->events->broken(w->user, reason);
}

/* ---- the socket ---- */

static void plug_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void redis_wire_unplug(struct redis_wire *w)
{
    struct redis_plug *p = w->plug;
    tls_client_free(w->tls);
    w->tls = NULL;
    w->full = false;
    if (!p)
        return;
    w->plug = NULL;
    p->wire = NULL;
    uv_close((uv_handle_t *)&p->poll, plug_closed);
    close(p->fd);
}

static void on_poll(uv_poll_t *poll, int status, int events);

void redis_wire_watch(struct redis_wire *w)
{
    uv_poll_start(&w->plug->poll,
        w->state == WIRE_DIALLING ? UV_WRITABLE
                                  : (w->deaf ? 0 : UV_READABLE) | (w->full ? UV_WRITABLE : 0),
        on_poll);
}

/* What the system takes; less than all: on_poll says when it takes more. */
static size_t send_some(struct redis_wire *w, struct text bytes)
{
    ssize_t sent = 0;
    if (bytes.len > 0 && !w->full) {
        do
            sent = send(w->plug->fd, bytes.at, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (sent < 0 && errno == EINTR);
        if (sent < 0)
            sent = 0;
        if ((size_t)sent < bytes.len) {
            w->full = true;
            redis_wire_watch(w);
        }
    }
    return (size_t)sent;
}

/* Whether nothing that is encrypted is left. */
static bool push(struct redis_wire *w)
{
    struct text out = tls_client_output(w->tls);
    if (out.len == 0)
        return true;
    size_t sent = send_some(w, out);
    tls_client_sent(w->tls, sent);
    return sent == out.len;
}

size_t redis_wire_write(struct redis_wire *w, struct text bytes)
{
    size_t taken = 0;
    if (w->state != WIRE_READY || w->full)
        return 0;
    if (!w->tls)
        return send_some(w, bytes);
    while (taken < bytes.len && push(w)) {
        size_t left = bytes.len - taken;
        size_t part = left < ENCRYPT_AT_ONCE ? left : ENCRYPT_AT_ONCE;
        if (!tls_client_write(w->tls, bytes.at + taken, part))
            break;
        taken += part;
    }
    (void)push(w);
    return taken;
}

void redis_wire_read(struct redis_wire *w, bool yes)
{
    w->deaf = !yes;
    if (w->state == WIRE_READY)
        redis_wire_watch(w);
}

size_t redis_wire_held(const struct redis_wire *w)
{
    return w->tls ? tls_client_output(w->tls).len : 0;
}

/* ---- bytes ---- */

static void now_ready(struct redis_wire *w)
{
    w->state = WIRE_READY;
    uv_timer_stop(w->timer);
    w->events->ready(w->user);
}

static void connected(struct redis_wire *w)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(w->plug->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error != 0) {
        redis_dial_failed(w, uv_strerror(-error));
        return;
    }
    w->state = WIRE_SHAKING;
    redis_wire_watch(w);
    if (!w->url->tls) {
        now_ready(w);
        return;
    }
    w->tls = tls_client_new(w->trust, w->url->host);
    if (!w->tls || tls_client_shake(w->tls) != TLS_CLIENT_AGAIN)
        redis_dial_failed(w, "out of memory");
    else
        (void)push(w);
}

static void shake(struct redis_wire *w)
{
    int code = tls_client_shake(w->tls);
    (void)push(w);
    if (code == TLS_CLIENT_BROKEN)
        redis_dial_failed(w, tls_client_problem(w->tls, NULL));
    else if (code == 0)
        now_ready(w);
}

/* What was decrypted is handed out before more is: where the encrypted bytes were read to. */
static void decrypt(struct redis_wire *w, size_t len)
{
    ssize_t got;
    if (!tls_client_feed(w->tls, w->in, len)) {
        redis_wire_broken(w, "out of memory");
        return;
    }
    if (w->state == WIRE_SHAKING)
        shake(w);
    if (w->closed || w->state != WIRE_READY)
        return;
    while ((got = tls_client_read(w->tls, w->in, READ_BYTES)) > 0) {
        w->events->bytes(w->user, w->in, (size_t)got);
        if (w->closed || w->state != WIRE_READY)
            return;
    }
    if (got == 0)
        redis_wire_broken(w, "the server ended the connection");
    else if (got == TLS_CLIENT_BROKEN)
        redis_wire_broken(w, tls_client_problem(w->tls, NULL));
    else if (!w->full)
        (void)push(w);
}

static void receive(struct redis_wire *w)
{
    ssize_t got = recv(w->plug->fd, w->in, READ_BYTES, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (w->tls && (got >= 0 || w->state == WIRE_SHAKING))
        decrypt(w, got > 0 ? (size_t)got : 0);
    else if (got <= 0)
        redis_wire_broken(w, got == 0 ? "the server ended the connection" : uv_strerror(-errno));
    else
        w->events->bytes(w->user, w->in, (size_t)got);
    if (!w->closed && w->state == WIRE_READY)
        w->events->read(w->user);
}

void redis_wire_look(struct redis_wire *w)
{
    if (w->state != WIRE_READY)
        return;
    redis_wire_enter(w);
    receive(w);
    redis_wire_leave(w);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    const struct redis_plug *p = poll->data;
    struct redis_wire *w = p->wire;
    if (!w || w->state == WIRE_BROKEN)
        return;
    redis_wire_enter(w);
    /* What is wrong with a socket is what reading or SO_ERROR says. */
    if (status < 0)
        events = UV_READABLE | UV_WRITABLE;
    if (w->state == WIRE_DIALLING) {
        connected(w);
    } else {
        if (w->full && (events & UV_WRITABLE)) {
            w->full = false;
            if (!w->tls || push(w)) {
                redis_wire_watch(w);
                if (w->state == WIRE_READY)
                    w->events->room(w->user);
            }
        }
        if (p->wire && (events & UV_READABLE) && w->state != WIRE_BROKEN)
            receive(w);
        /* The loop has stopped to watch it, so it must not be left like that. */
        if (p->wire && status < 0)
            redis_wire_broken(w, "the connection failed");
    }
    redis_wire_leave(w);
}

/* ---- the beginning and the end ---- */

static void timer_closed(uv_handle_t *handle)
{
    free(handle);
}

struct redis_wire *redis_wire_open(uv_loop_t *loop, const struct redis_url *url,
    struct tls_trust *trust, uint64_t patience_ms, const struct redis_wire_events *events,
    void *user)
{
    struct redis_wire *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->loop = loop;
    w->url = url;
    w->trust = trust;
    w->patience_ms = patience_ms;
    w->events = events;
    w->user = user;
    w->in = malloc(READ_BYTES);
    w->timer = malloc(sizeof *w->timer);
    if (!w->in || !w->timer || redis_dial_start(w) != 0) {
        free(w->timer);
        wire_free(w);
        return NULL;
    }
    uv_timer_init(loop, w->timer);
    w->timer->data = w;
    redis_dial_wait(w);
    return w;
}

void redis_wire_close(struct redis_wire *w)
{
    redis_dial_stop(w);
    if (w->tls && w->state == WIRE_READY && !w->full) {
        tls_client_finish(w->tls);
        (void)push(w);
    }
    redis_wire_unplug(w);
    uv_close((uv_handle_t *)w->timer, timer_closed);
    w->closed = true;
    if (w->inside == 0)
        wire_free(w);
}
