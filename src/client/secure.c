#include "client/secure.h"

#include <stdlib.h>

#include "client/client.h"
#include "client/trust.h"
#include "net/tls_client.h"

_Static_assert(
    (int)HERMES_TLS_OTHER == (int)TLS_PROBLEM_OTHER && (int)HERMES_TLS_OWN == (int)TLS_PROBLEM_OWN,
    "one is cast to the other");

struct secure {
    struct tls_client *tls;
    bool shaken; /* the handshake is done */
};

static uv_stream_t *stream_of(struct hermes_client *c)
{
    return (uv_stream_t *)&c->tcp;
}

static const char *problem(struct hermes_client *c)
{
    enum tls_client_problem kind;
    const char *text = tls_client_problem(c->secure->tls, &kind);
    c->tls = (uint8_t)kind;
    return text;
}

/* Hands over what is encrypted, as much as goes; how much, or an error of libuv's. */
static int push(struct hermes_client *c)
{
    struct text out = tls_client_output(c->secure->tls);
    union {
        const char *in;
        char *out;
    } at = {out.at};
    if (out.len == 0)
        return 0;
    uv_buf_t bytes = uv_buf_init(at.out, (unsigned)out.len);
    int code = uv_try_write(stream_of(c), &bytes, 1);
    if (code > 0)
        tls_client_sent(c->secure->tls, (size_t)code);
    return code == UV_EAGAIN ? 0 : code;
}

static int push_all(struct hermes_client *c)
{
    int code = push(c);
    return code < 0 ? code : tls_client_output(c->secure->tls).len > 0 ? UV_ENOBUFS : 0;
}

/* ---- the beginning and the end ---- */

int secure_start(struct hermes_client *c, const char *host)
{
    struct secure *s = calloc(1, sizeof *s);
    c->trust = trust_again(c->group, c->trust);
    if (s)
        s->tls = tls_client_new(trust_tls(c->trust), host);
    if (!s || !s->tls) {
        free(s);
        return UV_ENOMEM;
    }
    c->secure = s;
    return tls_client_shake(s->tls) == TLS_CLIENT_AGAIN ? push_all(c) : UV_ENOMEM;
}

void secure_free(struct secure *s)
{
    if (!s)
        return;
    tls_client_free(s->tls);
    free(s);
}

/* Whether the handshake is done. */
static bool shake(struct hermes_client *c)
{
    struct secure *s = c->secure;
    int code = tls_client_shake(s->tls);
    int pushed = push_all(c);
    if (code == TLS_CLIENT_BROKEN) {
        dial_distrusted(c, problem(c));
        return false;
    }
    s->shaken = code == 0;
    if (s->shaken && pushed == 0)
        pushed = dial_request(c);
    if (pushed != 0) {
        dial_failed(c, pushed);
        return false;
    }
    return s->shaken;
}

void secure_goodbye(struct hermes_client *c)
{
    if (!c->secure || !c->secure->shaken || uv_stream_get_write_queue_size(stream_of(c)) > 0)
        return;
    tls_client_finish(c->secure->tls);
    (void)push(c);
}

/* ---- reading ---- */

static void ended(struct hermes_client *c, ssize_t got)
{
    bool dialling = c->state == CLIENT_DIALLING;
    if (got == 0) {
        connection_lost(c, UV_EOF);
        return;
    }
    const char *why = problem(c);
    (void)push(c);
    if (dialling)
        dial_distrusted(c, why);
    else
        connection_end(c, why, true);
}

/* As many records at once as there are: they are cut where the server's writes were. */
static ssize_t read_records(struct hermes_client *c, size_t *len)
{
    ssize_t got;
    *len = 0;
    do {
        got =
            tls_client_read(c->secure->tls, c->group->bytes + *len, sizeof c->group->bytes - *len);
        *len += got > 0 ? (size_t)got : 0;
    } while (got > 0 && *len < sizeof c->group->bytes);
    return got;
}

static void read_all(struct hermes_client *c)
{
    const struct secure *s = c->secure;
    ssize_t got;
    if (!s->shaken && !shake(c))
        return;
    do {
        size_t len;
        got = read_records(c, &len);
        if (len > 0 && c->state == CLIENT_DIALLING)
            dial_bytes(c, c->group->bytes, len);
        else if (len > 0 && client_connected(c))
            connection_feed(c, c->group->bytes, len);
        if (c->freed || c->secure != s)
            return;
    } while (got > 0);
    if (got != TLS_CLIENT_AGAIN)
        ended(c, got);
    else if (!c->backlog)
        (void)push(c);
}

void secure_on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *bytes)
{
    struct hermes_client *c = stream->data;
    if (len == 0 || c->freed || (c->state != CLIENT_DIALLING && !client_connected(c)))
        return;
    client_enter(c);
    if (len > 0) {
        c->heard_at = uv_now(c->group->loop);
        c->pinged = c->overdue = false;
    }
    /* Who hangs up during the handshake often does so without having read all. */
    bool refused = len == UV_ECONNRESET && c->state == CLIENT_DIALLING;
    if (len < 0 && len != UV_EOF && !refused)
        connection_lost(c, (int)len);
    else if (!tls_client_feed(c->secure->tls, bytes->base, len > 0 ? (size_t)len : 0))
        connection_lost(c, UV_ENOMEM);
    else
        read_all(c);
    client_leave(c);
}

/* ---- writing ---- */

int secure_write(struct hermes_client *c, const struct buf *bytes)
{
    return tls_client_write(c->secure->tls, bytes->data, bytes->len) ? push_all(c) : UV_ENOMEM;
}

size_t secure_sent(const struct hermes_client *c, const struct backlog *b)
{
    const struct veiled *v = &b->veiled;
    size_t queued = v->flying ? uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) : 0;
    size_t handed = v->flying ? v->bytes - queued : v->handed;
    if (handed >= v->bytes)
        return v->taken;
    /* Half a record is of no use to the server. */
    size_t records = (v->chunk + v->record - 1) / v->record;
    size_t growth = (v->bytes - v->lead - v->chunk) / records;
    size_t past = handed > v->lead ? handed - v->lead : 0;
    return v->taken - v->chunk + past / (v->record + growth) * v->record;
}

static bool encrypt(struct hermes_client *c, struct backlog *b)
{
    struct tls_client *tls = c->secure->tls;
    struct veiled *v = &b->veiled;
    size_t left = b->bytes.len - v->taken;
    size_t chunk = left < SECURE_CHUNK ? left : SECURE_CHUNK;
    size_t lead = tls_client_output(tls).len;
    if (!tls_client_write(tls, b->bytes.data + v->taken, chunk))
        return false;
    v->taken += chunk;
    v->chunk = chunk;
    v->lead = lead;
    v->bytes = tls_client_output(tls).len;
    v->record = tls_client_record(tls);
    v->handed = 0;
    return true;
}

static void backlog_free(struct hermes_client *c, struct backlog *b)
{
    if (c)
        group_take_back(c->group, &b->bytes);
    buf_fini(&b->bytes);
    buf_fini(&b->veiled.rest);
    free(b);
}

static void stop(struct hermes_client *c, struct backlog *b, const char *why)
{
    connection_end(c, why, true);
    backlog_free(NULL, b);
}

static void written(uv_write_t *request, int status);

/* The rest of a chunk has to wait: false when it cannot. */
static bool leave(struct hermes_client *c, struct backlog *b)
{
    struct tls_client *tls = c->secure->tls;
    struct veiled *v = &b->veiled;
    struct text out = tls_client_output(tls);
    buf_clear(&v->rest);
    buf_append(&v->rest, out.at, out.len);
    if (v->rest.failed) {
        stop(c, b, "out of memory");
        return false;
    }
    uv_buf_t bytes = uv_buf_init(v->rest.data, (unsigned)v->rest.len);
    int code = uv_write(&b->request, stream_of(c), &bytes, 1, written);
    if (code != 0) {
        stop(c, b, uv_strerror(code));
        return false;
    }
    tls_client_sent(tls, out.len);
    v->flying = true;
    return true;
}

/* Goes on with c->backlog, nothing of which is on its way: all of it, or until the socket is full.
 */
static void send_on(struct hermes_client *c)
{
    struct backlog *b = c->backlog;
    struct veiled *v = &b->veiled;
    while (v->taken < b->bytes.len) {
        if (!encrypt(c, b)) {
            stop(c, b, problem(c));
            return;
        }
        int code = push(c);
        if (code < 0) {
            stop(c, b, uv_strerror(code));
            return;
        }
        v->handed = (size_t)code;
        if (v->handed < v->bytes) {
            (void)leave(c, b);
            return;
        }
    }
    c->backlog = NULL;
    c->cut = false;
    backlog_free(c, b);
    if (client_connected(c) && c->out.len > 0)
        secure_flush(c);
    else if (client_connected(c))
        connection_drained(c);
}

static void written(uv_write_t *request, int status)
{
    struct backlog *b = (struct backlog *)request;
    struct hermes_client *c = b->client;
    /* Not ours any more: connection_end has been here. */
    if (c->backlog != b) {
        backlog_free(NULL, b);
        return;
    }
    client_enter(c);
    b->veiled.flying = false;
    b->veiled.handed = b->veiled.bytes;
    if (c->freed) {
        c->backlog = NULL;
        backlog_free(NULL, b);
    } else if (status != 0) {
        b->veiled.handed = 0;
        stop(c, b, uv_strerror(status));
    } else {
        send_on(c);
    }
    client_leave(c);
}

void secure_flush(struct hermes_client *c)
{
    struct backlog *b = calloc(1, sizeof *b);
    if (!b) {
        connection_end(c, "out of memory", true);
        return;
    }
    b->client = c;
    b->secure = true;
    b->bytes = c->out;
    c->out = (struct buf){0};
    c->backlog = b;
    send_on(c);
}

size_t secure_try(struct hermes_client *c)
{
    struct backlog b = {.bytes = c->out};
    if (!encrypt(c, &b))
        return 0;
    int code = push(c);
    b.veiled.handed = code > 0 ? (size_t)code : 0;
    return secure_sent(c, &b);
}
