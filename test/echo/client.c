/* One client of the echo server, from the accepted socket to the last byte. */
#include <stdlib.h>
#include <unistd.h>

#include "echo/echo.h"

#include "base/buf.h"
#include "net/conn.h"
#include "proto/handshake.h"
#include "proto/http_head.h"
#include "proto/ws_out.h"

/* UNSENT_MAX: a client that does not take its echoes is not read from. CLOSE_WAIT_MS: how long the
 * peer may take to end its side; closing a socket with unread input would reset it, and the close
 * frame might be lost. */
enum { UNSENT_MAX = 1 << 20, UNSENT_KEPT = 64 * 1024, READS_A_ROUND = 4, CLOSE_WAIT_MS = 2000 };

enum state {
    HEAD,    /* reads the request */
    OPEN,    /* echoes */
    CLOSING, /* the last bytes are queued; input is thrown away, but for a close frame */
    ENDED,   /* waits for libuv to let go of the timer */
};

struct client {
    struct conn conn;
    uv_timer_t closing;
    struct list node;
    struct echo *echo;
    enum state state;
    struct ws_reader *reader;
    struct buf head;
    struct buf out;
    size_t sent;      /* of `out` */
    bool deaf;        /* input cannot be understood any more */
    bool peer_closed; /* its close frame came */
};

/* Comes when the round of the sockets is over. */
static void timer_closed(uv_handle_t *timer)
{
    struct client *c = timer->data;
    buf_fini(&c->head);
    buf_fini(&c->out);
    free(c);
}

static void client_end(struct client *c)
{
    if (c->state == ENDED)
        return;
    c->state = ENDED;
    ws_release(c->echo->readers, &c->reader);
    list_remove(&c->node);
    conn_close(&c->conn, &c->echo->poller, false);
    uv_close((uv_handle_t *)&c->closing, timer_closed);
}

static void close_wait_over(uv_timer_t *timer)
{
    client_end(timer->data);
}

static size_t unsent(const struct client *c)
{
    return c->out.len - c->sent;
}

/* Sends what it can, and chooses what the socket is watched for. */
static void client_flush(struct client *c)
{
    if (c->out.failed)
        client_end(c);
    while (c->state != ENDED && unsent(c) > 0) {
        struct iovec piece = {c->out.data + c->sent, unsent(c)};
        ssize_t sent = conn_write(&c->conn, &piece, 1);
        if (sent == CONN_AGAIN)
            break;
        if (sent == CONN_BROKEN)
            client_end(c);
        else
            c->sent += (size_t)sent;
    }
    if (c->state == ENDED)
        return;
    if (unsent(c) == 0) {
        c->sent = 0;
        buf_clear(&c->out);
        if (c->out.cap > UNSENT_KEPT)
            buf_fini(&c->out);
    }
    if (unsent(c) == 0 && c->state == CLOSING) {
        if (c->peer_closed) {
            client_end(c);
            return;
        }
        conn_finish(&c->conn);
    }
    conn_watch(&c->conn, &c->echo->poller, unsent(c) < UNSENT_MAX, unsent(c) > 0);
}

/* What is queued is the last. */
static void client_last(struct client *c)
{
    c->state = CLOSING;
    uv_timer_start(&c->closing, close_wait_over, CLOSE_WAIT_MS, 0);
}

static void client_close(struct client *c, int code)
{
    ws_close_frame(&c->out, code, "");
    client_last(c);
}

/* --- frames ----------------------------------------------------------------------------------- */

static bool on_message(void *user, enum ws_opcode opcode, char *payload, size_t len)
{
    struct client *c = user;
    if (c->state == OPEN)
        ws_frame(&c->out, opcode, payload, len);
    return !c->out.failed;
}

static bool on_ping(void *user, const char *payload, size_t len)
{
    struct client *c = user;
    if (c->state == OPEN)
        ws_frame(&c->out, WS_PONG, payload, len);
    return !c->out.failed;
}

static bool on_pong(void *user, const char *payload, size_t len)
{
    (void)user;
    (void)payload;
    (void)len;
    return true;
}

static bool on_close(void *user, int code, const char *reason, size_t len)
{
    struct client *c = user;
    (void)reason;
    (void)len;
    c->peer_closed = true;
    c->deaf = true;
    if (c->state == OPEN)
        client_close(c, code);
    return false;
}

static const struct ws_events events = {on_message, on_ping, on_pong, on_close};

static void receive(struct client *c, char *bytes, size_t len)
{
    int code = ws_feed(c->echo->readers, &c->reader, bytes, len, &events, c);
    if (code == 0)
        return;
    c->deaf = true;
    if (c->state == OPEN)
        client_close(c, code);
}

/* --- the request ------------------------------------------------------------------------------ */

static void refuse(struct client *c, int status, const char *text, bool head_only)
{
    http_answer(&c->out, status, text, head_only);
    c->deaf = true;
    client_last(c);
}

static void answer_request(struct client *c, const struct http_head *head)
{
    struct request request;
    request_read(&request, head);
    if (request.kind == REQUEST_UPGRADE) {
        handshake_accept(&c->out, &request);
        c->state = OPEN;
    } else if (request.kind == REQUEST_REFUSED) {
        refuse(c, request.status, request.reason, request.head_only);
    } else {
        refuse(c, 200, "ok", request.head_only);
    }
}

static void greet(struct client *c, const char *bytes, size_t len)
{
    struct http_head head;
    size_t used = 0;
    buf_append(&c->head, bytes, len);
    if (c->head.failed) {
        client_end(c);
        return;
    }
    switch (http_head_read(&head, c->head.data, c->head.len, &used)) {
    case HTTP_MORE:
        return;
    case HTTP_BAD:
        refuse(c, 400, "This is not a well-formed HTTP request.", false);
        return;
    case HTTP_LARGE:
        refuse(c, 431, "The request head is larger than 8 KiB.", false);
        return;
    case HTTP_DONE:
        answer_request(c, &head);
    }
    /* What came behind the head are frames already. */
    if (c->state == OPEN && used < c->head.len)
        receive(c, c->head.data + used, c->head.len - used);
    buf_fini(&c->head);
}

/* --- the socket ------------------------------------------------------------------------------- */

/* True when there may be more to read. */
static bool client_read(struct client *c)
{
    char *buffer = c->echo->buffer;
    ssize_t got = conn_read(&c->conn, buffer, ECHO_READ);
    if (got == CONN_AGAIN)
        return false;
    if (got == CONN_BROKEN || got == 0) {
        client_end(c);
        return false;
    }
    if (c->state == HEAD)
        greet(c, buffer, (size_t)got);
    else if (!c->deaf)
        receive(c, buffer, (size_t)got);
    client_flush(c);
    return c->state != ENDED && unsent(c) < UNSENT_MAX;
}

void client_ready(struct conn *conn, int readiness)
{
    struct client *c = LIST_ITEM(conn, struct client, conn);
    if (readiness & CONN_FAULT) {
        client_end(c);
        return;
    }
    if (readiness & CONN_WRITABLE)
        client_flush(c);
    if (readiness & CONN_READABLE && c->state != ENDED)
        for (int i = 0; i < READS_A_ROUND && client_read(c); i++)
            ;
}

void client_open(struct echo *e, int fd)
{
    struct client *c = calloc(1, sizeof *c);
    if (!c || !conn_open(&c->conn, &e->poller, fd)) {
        free(c);
        close(fd);
        return;
    }
    uv_timer_init(e->loop, &c->closing);
    c->closing.data = c;
    c->echo = e;
    list_init(&c->node);
    list_append(&e->clients, &c->node);
}

void clients_close(struct echo *e)
{
    struct list *next;
    for (struct list *node = e->clients.next; node != &e->clients; node = next) {
        struct client *c = LIST_ITEM(node, struct client, node);
        next = node->next;
        if (c->state == HEAD) {
            client_end(c);
        } else if (c->state == OPEN) {
            client_close(c, 1001);
            client_flush(c);
        }
    }
}
