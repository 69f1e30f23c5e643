#include "admin/http_conn.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "admin/admin.h"
#include "admin/router.h"
#include "base/die.h"
#include "base/wipe.h"

/* HURRY: bytes for which a slow peer is given a second more. */
enum {
    IDLE_MS = 60000,
    HEAD_MS = 10000,
    BODY_MS = 10000,
    ANSWER_MS = 10000,
    LINGER_MS = 1000,
    HURRY = 256 * 1024,
    BODIES = 4,       /* of the largest size, that all connections may hold together, */
    HEADS = 64 * 1024 /* and each for itself */
};

static struct http_conn *conn_of(void *handle)
{
    return ((uv_handle_t *)handle)->data;
}

static void become(struct http_conn *c, enum http_state state, uint64_t ms)
{
    c->state = state;
    wheel_set(&c->admin->wheel, &c->deadline, ms);
}

/* --- the end ---------------------------------------------------------------------------------- */

/* There may be a token in it, which is not to lie about in memory that is given back. For the same
 * reason no library is called before what the input was read with is wiped. */
static void forget_input(struct http_conn *c, size_t len)
{
    if (len == 0)
        return;
    c->admin->held_bytes -= len;
    c->in.len -= len;
    memmove(c->in.data, c->in.data + len, c->in.len);
    explicit_bzero(c->in.data + c->in.len, len);
    if (c->in.len == 0)
        buf_fini(&c->in);
}

/* False when there is no memory: nothing has changed then. */
static bool keep_input(struct http_conn *c, const char *bytes, size_t len)
{
    struct buf *in = &c->in;
    if (in->cap - in->len < len) {
        struct buf more = {0};
        if (!buf_reserve(&more, in->len + len + in->len / 2))
            return false;
        buf_append_text(&more, buf_text(in));
        if (in->len > 0)
            explicit_bzero(in->data, in->len);
        buf_fini(in);
        *in = more;
    }
    buf_append(in, bytes, len);
    c->admin->held_bytes += len;
    return true;
}

static void closed(uv_handle_t *handle)
{
    struct http_conn *c = conn_of(handle);
    struct admin *a = c->admin;
    buf_fini(&c->out_head);
    buf_fini(&c->out_body);
    list_remove(&c->node);
    free(c);
    a->connection_count--;
    metric_add(&a->metrics, METRIC_admin_connections, -1);
    admin_maybe_end(a);
}

static void hang_up(struct http_conn *c)
{
    if (c->state == HTTP_CLOSED)
        return;
    MUST(c->state != HTTP_ANSWERING);
    c->state = HTTP_CLOSED;
    wheel_unset(&c->admin->wheel, &c->deadline);
    forget_input(c, c->in.len);
    uv_close((uv_handle_t *)&c->tcp, closed);
}

void http_conn_end(struct http_conn *c)
{
    c->exchange.closes = true;
    if (c->state == HTTP_WRITING)
        become(c, HTTP_WRITING, LINGER_MS);
    else if (c->state != HTTP_ANSWERING)
        hang_up(c);
}

void http_conn_deadline(struct deadline *d, void *user)
{
    struct http_conn *c = LIST_ITEM(d, struct http_conn, deadline);
    (void)user;
    if (c->in.len > 0 && (c->state == HTTP_HEAD || c->state == HTTP_BODY))
        metric_add(&c->admin->metrics, METRIC_admin_timeouts_total, 1);
    hang_up(c);
}

/* --- reading ---------------------------------------------------------------------------------- */

static void answer_and_close(struct http_conn *c, int status, const char *code, const char *message)
{
    c->exchange.closes = true;
    c->exchange.answered = false;
    exchange_error(&c->exchange, status, code, message);
}

/* The head is whole: it is judged before its body may come. True: it may. */
static bool accept_head(struct http_conn *c)
{
    struct exchange *x = &c->exchange;
    struct refusal refusal;
    uint64_t rest = x->head.body_len;
    x->closes =
        x->head.minor == 0 || http_list_has(&x->head, "Connection", "close") || c->admin->stopping;
    if (router_accepts(x, &refusal))
        return true;
    /* What is not read of the request cannot be told from the next one. */
    x->closes |= x->head.coded || rest > c->in.len - c->head_len;
    router_refuse(x, &refusal);
    return false;
}

/* The whole request is there. */
static void hand_over(struct http_conn *c)
{
    struct exchange *x = &c->exchange;
    size_t used;
    /* The bytes may have moved as more of them came. */
    MUST(http_head_read_with_body(&x->head, c->in.data, c->in.len, &used) == HTTP_DONE);
    MUST(used == c->head_len);
    wipe_registers();
    x->query = x->head.query;
    x->body = (struct text){c->in.data + used, (size_t)x->head.body_len};
    c->state = HTTP_ANSWERING;
    wheel_unset(&c->admin->wheel, &c->deadline);
    uv_read_stop((uv_stream_t *)&c->tcp);
    router_run(x);
}

static void tell_to_continue(struct http_conn *c)
{
    static char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    uv_buf_t piece = uv_buf_init(line, sizeof line - 1);
    /* So few bytes always fit where nothing else is being written; else the peer goes on by
     * itself. */
    if (!c->continued && http_list_has(&c->exchange.head, "Expect", "100-continue"))
        uv_try_write((uv_stream_t *)&c->tcp, &piece, 1);
    c->continued = true;
}

/* The first bytes of a request, or more of them. True: an answer is under way. */
static bool read_head(struct http_conn *c)
{
    struct exchange *x = &c->exchange;
    *x = (struct exchange){.admin = c->admin};
    switch (http_head_read_with_body(&x->head, c->in.data, c->in.len, &c->head_len)) {
    case HTTP_MORE:
        if (c->state == HTTP_IDLE)
            become(c, HTTP_HEAD, HEAD_MS);
        return true;
    case HTTP_BAD:
        x->head.method = x->head.path = TEXT("");
        answer_and_close(c, 400, "malformed", "This is not a well-formed HTTP request.");
        return true;
    case HTTP_LARGE:
        x->head.method = x->head.path = TEXT("");
        answer_and_close(c, 431, "too_large", "The request head is larger than 8 KiB.");
        return true;
    case HTTP_DONE:
        break;
    }
    c->continued = false;
    if (!accept_head(c))
        return true;
    if (x->head.body_len > c->in.len - c->head_len)
        become(c, HTTP_BODY, BODY_MS + x->head.body_len / HURRY * 1000);
    return false;
}

/* What is there of requests. */
static void go_on(struct http_conn *c)
{
    if (c->in.len == 0) {
        if (c->peer_ended || c->exchange.closes)
            hang_up(c);
        return;
    }
    bool waits = c->head_len == 0 && read_head(c);
    wipe_registers();
    if (waits) {
        if (c->peer_ended && (c->state == HTTP_IDLE || c->state == HTTP_HEAD))
            hang_up(c);
        return;
    }
    if (c->in.len - c->head_len >= c->exchange.head.body_len)
        hand_over(c);
    else if (c->peer_ended)
        hang_up(c);
    else
        tell_to_continue(c);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *room)
{
    struct admin *a = conn_of(handle)->admin;
    (void)suggested;
    *room = uv_buf_init(a->buffer, sizeof a->buffer);
}

static size_t held_most(const struct admin *a)
{
    return BODIES * a->settings.body_max + (size_t)ADMIN_CONNECTIONS_MAX * HEADS;
}

static void came(uv_stream_t *stream, ssize_t len, const uv_buf_t *room)
{
    struct http_conn *c = conn_of(stream);
    struct admin *a = c->admin;
    if (c->state == HTTP_LINGERING) {
        if (len < 0)
            hang_up(c);
        return;
    }
    if (len < 0) {
        c->peer_ended = true;
        uv_read_stop(stream);
        if (c->state != HTTP_ANSWERING && c->state != HTTP_WRITING)
            hang_up(c);
        return;
    }
    bool kept =
        a->held_bytes + (size_t)len <= held_most(a) && keep_input(c, room->base, (size_t)len);
    explicit_bzero(room->base, (size_t)len);
    wipe_registers();
    if (!kept) {
        uv_read_stop(stream);
        answer_and_close(c, 503, "unavailable", "There is no memory for this request now.");
        return;
    }
    go_on(c);
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Ends our side; the peer has a moment to end its own, or what it still sends would have the
 * system throw away an answer that it has not read yet. */
static void linger(struct http_conn *c)
{
    int fd;
    if (c->peer_ended || uv_fileno((uv_handle_t *)&c->tcp, &fd) != 0 ||
        shutdown(fd, SHUT_WR) != 0 || uv_read_start((uv_stream_t *)&c->tcp, give_room, came) != 0) {
        hang_up(c);
        return;
    }
    become(c, HTTP_LINGERING, LINGER_MS);
}

static void wrote(uv_write_t *write, int status)
{
    struct http_conn *c = write->data;
    buf_fini(&c->out_head);
    buf_fini(&c->out_body);
    if (c->state == HTTP_CLOSED)
        return;
    if (status != 0) {
        hang_up(c);
        return;
    }
    if (c->exchange.closes) {
        forget_input(c, c->in.len);
        linger(c);
        return;
    }
    forget_input(c, c->head_len + (size_t)c->exchange.head.body_len);
    wipe_registers();
    c->head_len = 0;
    list_remove(&c->node);
    list_append(&c->admin->connections, &c->node);
    become(c, HTTP_IDLE, IDLE_MS);
    if (!c->peer_ended && uv_read_start((uv_stream_t *)&c->tcp, give_room, came) != 0) {
        hang_up(c);
        return;
    }
    go_on(c);
}

void http_conn_send(struct http_conn *c)
{
    uv_buf_t pieces[2] = {
        uv_buf_init(c->out_head.data, (unsigned)c->out_head.len),
        uv_buf_init(c->out_body.data, (unsigned)c->out_body.len),
    };
    wipe_registers();
    uv_read_stop((uv_stream_t *)&c->tcp);
    c->write.data = c;
    become(c, HTTP_WRITING, ANSWER_MS + c->out_body.len / HURRY * 1000);
    if (c->out_head.failed || uv_write(&c->write, (uv_stream_t *)&c->tcp, pieces,
                                  c->out_body.len > 0 ? 2 : 1, wrote) != 0)
        hang_up(c);
}

/* --- the beginning ---------------------------------------------------------------------------- */

/* Whoever leaves its head half there could keep everyone out for HEAD_MS, and needs no token for
 * that: heads that are in earnest come whole, and soon after the connection. */
bool http_conn_make_room(struct admin *a)
{
    struct http_conn *half = NULL;
    for (struct list *at = a->connections.next; at != &a->connections; at = at->next) {
        struct http_conn *c = LIST_ITEM(at, struct http_conn, node);
        if (c->state == HTTP_IDLE || c->state == HTTP_LINGERING) {
            hang_up(c);
            return true;
        }
        if (c->state == HTTP_HEAD && !half)
            half = c;
    }
    if (half)
        hang_up(half);
    return half != NULL;
}

void http_conn_open(struct admin *a, int fd)
{
    struct http_conn *c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    c->admin = a;
    c->exchange.admin = a;
    c->tcp.data = c;
    list_init(&c->node);
    list_append(&a->connections, &c->node);
    deadline_init(&c->deadline);
    a->connection_count++;
    metric_add(&a->metrics, METRIC_admin_connections, 1);
    MUST(uv_tcp_init(&a->loop, &c->tcp) == 0);
    if (uv_tcp_open(&c->tcp, fd) != 0) {
        close(fd);
        hang_up(c);
    } else if (uv_read_start((uv_stream_t *)&c->tcp, give_room, came) != 0) {
        hang_up(c);
    } else {
        become(c, HTTP_HEAD, HEAD_MS);
    }
}
