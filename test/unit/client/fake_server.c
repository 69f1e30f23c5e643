#include "unit/client/fake_server.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "proto/handshake.h"
#include "proto/ws_out.h"

static struct fake_conn *conn_of(const void *handle)
{
    return ((const uv_handle_t *)handle)->data;
}

static void part_closed(uv_handle_t *handle)
{
    struct fake_conn *conn = conn_of(handle);
    if (--conn->handles > 0)
        return;
    buf_fini(&conn->head);
    buf_fini(&conn->slow);
    buf_fini(&conn->plain);
    fake_veil_free(conn->veil);
    conn->veil = NULL;
}

static void conn_close(struct fake_conn *conn)
{
    if (conn->closed)
        return;
    conn->closed = true;
    ws_release(conn->fake->frames, &conn->reader);
    uv_close((uv_handle_t *)&conn->tcp, part_closed);
    uv_close((uv_handle_t *)&conn->idle, part_closed);
    if (conn->fake->ended)
        conn->fake->ended(conn);
}

void fake_drop(struct fake_conn *conn)
{
    conn_close(conn);
}

void fake_reset(struct fake_conn *conn)
{
    int fd;
    struct linger linger = {1, 0};
    MUST(uv_fileno((uv_handle_t *)&conn->tcp, &fd) == 0);
    MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
    conn_close(conn);
}

/* ---- writing ---- */

struct output {
    uv_write_t request;
    char bytes[];
};

static void output_done(uv_write_t *request, int status)
{
    (void)status;
    free(request);
}

static void write_now(struct fake_conn *conn, const void *bytes, size_t len)
{
    struct output *out = malloc(sizeof *out + len);
    MUST(out);
    memcpy(out->bytes, bytes, len);
    uv_buf_t buf = uv_buf_init(out->bytes, (unsigned)len);
    MUST(uv_write(&out->request, (uv_stream_t *)&conn->tcp, &buf, 1, output_done) == 0);
}

static void one_more(uv_idle_t *idle)
{
    struct fake_conn *conn = conn_of(idle);
    write_now(conn, conn->slow.data + conn->slow_at, 1);
    if (++conn->slow_at < conn->slow.len)
        return;
    uv_idle_stop(idle);
    if (conn->ending)
        conn_close(conn);
}

static void wire_bytes(struct fake_conn *conn, const void *bytes, size_t len)
{
    if (conn->closed || len == 0)
        return;
    if (!conn->fake->slowly) {
        write_now(conn, bytes, len);
        return;
    }
    buf_append(&conn->slow, bytes, len);
    uv_idle_start(&conn->idle, one_more);
}

void fake_bytes(struct fake_conn *conn, const void *bytes, size_t len)
{
    struct buf out = {0};
    if (conn->closed)
        return;
    if (!conn->veil) {
        wire_bytes(conn, bytes, len);
        return;
    }
    fake_veil_write(conn->veil, bytes, len, &out);
    wire_bytes(conn, out.data, out.len);
    buf_fini(&out);
}

/* Closes it in order. */
static void conn_finish(struct fake_conn *conn)
{
    struct buf out = {0};
    if (conn->veil)
        fake_veil_finish(conn->veil, &out);
    if (out.len > 0 && !conn->fake->slowly)
        wire_bytes(conn, out.data, out.len);
    buf_fini(&out);
    conn_close(conn);
}

void fake_frame(struct fake_conn *conn, enum ws_opcode opcode, const void *payload, size_t len)
{
    struct buf frame = {0};
    ws_frame(&frame, opcode, payload, len);
    fake_bytes(conn, frame.data, frame.len);
    buf_fini(&frame);
}

void fake_text(struct fake_conn *conn, const char *text)
{
    fake_frame(conn, WS_TEXT, text, strlen(text));
}

void fake_end(struct fake_conn *conn, int code, const char *reason)
{
    struct buf frame = {0};
    ws_close_frame(&frame, code, reason);
    fake_bytes(conn, frame.data, frame.len);
    buf_fini(&frame);
}

/* ---- reading ---- */

static bool on_message(void *user, enum ws_opcode opcode, char *payload, size_t len)
{
    struct fake_conn *conn = user;
    MUST(opcode == WS_TEXT);
    if (conn->fake->text)
        conn->fake->text(conn, payload, len);
    return !conn->closed;
}

static bool on_ping(void *user, const char *payload, size_t len)
{
    struct fake_conn *conn = user;
    if (!conn->fake->no_pong)
        fake_frame(conn, WS_PONG, payload, len);
    if (conn->fake->ping)
        conn->fake->ping(conn, payload, len);
    return !conn->closed;
}

static bool on_pong(void *user, const char *payload, size_t len)
{
    struct fake_conn *conn = user;
    if (conn->fake->pong)
        conn->fake->pong(conn, payload, len);
    return !conn->closed;
}

static bool on_close(void *user, int code, const char *reason, size_t len)
{
    struct fake_conn *conn = user;
    if (conn->fake->close)
        conn->fake->close(conn, code, reason, len);
    if (!conn->closed && !conn->fake->no_close) {
        fake_end(conn, code, "");
        conn->ending = true;
        if (!conn->fake->slowly)
            conn_finish(conn);
    }
    return false;
}

static const struct ws_events events = {on_message, on_ping, on_pong, on_close};

static void feed(struct fake_conn *conn, char *bytes, size_t len)
{
    int code = ws_feed(conn->fake->frames, &conn->reader, bytes, len, &events, conn);
    if (code != 0)
        die("the client sent what ends with %d", code);
}

static void shake(struct fake_conn *conn)
{
    struct fake *f = conn->fake;
    struct http_head head;
    struct request request;
    size_t used;
    if (http_head_read(&head, conn->head.data, conn->head.len, &used) == HTTP_MORE)
        return;
    request_read(&request, &head);
    MUST(request.kind == REQUEST_UPGRADE);
    if (f->answer) {
        fake_bytes(conn, f->answer, strlen(f->answer));
        conn_finish(conn);
        return;
    }
    struct buf out = {0};
    if (f->level1)
        request.protocol = TEXT("");
    handshake_accept(&out, &request);
    if (f->extra) {
        out.len -= 2;
        buf_append_string(&out, f->extra);
        buf_append_string(&out, "\r\n");
    }
    if (f->wrong_accept)
        ((char *)memmem(out.data, out.len, "Accept: ", 8))[8] ^= 1;
    conn->shaken = true;
    fake_bytes(conn, out.data, out.len);
    buf_fini(&out);
    if (!f->no_info)
        fake_text(
            conn, "{\"type\":\"info\",\"message\":\"Connected to HERMES WebSocket server. Hi.\"}");
    if (f->deaf)
        uv_read_stop((uv_stream_t *)&conn->tcp);
    if (f->opened)
        f->opened(conn);
    if (!conn->closed && conn->head.len > used)
        feed(conn, conn->head.data + used, conn->head.len - used);
}

static void take(struct fake_conn *conn, char *bytes, size_t len)
{
    if (conn->shaken) {
        feed(conn, bytes, len);
    } else {
        buf_append(&conn->head, bytes, len);
        shake(conn);
    }
}

static void take_veiled(struct fake_conn *conn, const char *bytes, size_t len)
{
    struct fake *f = conn->fake;
    struct buf out = {0};
    bool begun = conn->veil != NULL;
    if (f->plain || f->silent) {
        if (f->plain)
            wire_bytes(conn, f->plain, strlen(f->plain));
        f->resets ? fake_reset(conn) : fake_drop(conn);
        return;
    }
    if (!begun)
        conn->veil = fake_veil_new(f->tls);
    buf_clear(&conn->plain);
    bool goes_on = fake_veil_feed(conn->veil, bytes, len, &conn->plain, &out);
    wire_bytes(conn, out.data, out.len);
    buf_fini(&out);
    f->ended_orderly += fake_veil_ended(conn->veil);
    if (conn->plain.len > 0)
        take(conn, conn->plain.data, conn->plain.len);
    if (!goes_on)
        conn_close(conn);
}

static void give_bytes(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct fake *f = conn_of(handle)->fake;
    (void)suggested;
    *out = uv_buf_init(f->bytes, sizeof f->bytes);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *bytes)
{
    struct fake_conn *conn = conn_of(stream);
    if (len < 0)
        conn_close(conn);
    else if (conn->fake->tls || conn->fake->plain)
        take_veiled(conn, bytes->base, (size_t)len);
    else
        take(conn, bytes->base, (size_t)len);
}

void fake_listen(struct fake_conn *conn)
{
    MUST(uv_read_start((uv_stream_t *)&conn->tcp, give_bytes, on_read) == 0);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct fake *f = listener->data;
    MUST(status == 0);
    struct fake_conn *conn = calloc(1, sizeof *conn);
    MUST(conn);
    conn->fake = f;
    conn->next = f->all;
    conn->number = ++f->connections;
    f->all = conn;
    MUST(uv_tcp_init(f->loop, &conn->tcp) == 0 && uv_idle_init(f->loop, &conn->idle) == 0);
    conn->tcp.data = conn->idle.data = conn;
    conn->handles = 2;
    MUST(uv_accept(listener, (uv_stream_t *)&conn->tcp) == 0);
    uv_tcp_nodelay(&conn->tcp, 1);
    fake_listen(conn);
}

void fake_open(struct fake *f, uv_loop_t *loop, const char *host)
{
    struct sockaddr_in address;
    int size = sizeof address;
    f->loop = loop;
    f->frames = ws_pool_new(
        &(struct ws_settings){.max_message = 64 << 20, .max_fragments = 1, .server = true});
    MUST(f->frames);
    MUST(uv_tcp_init(loop, &f->listener) == 0);
    f->listener.data = f;
    MUST(uv_ip4_addr("127.0.0.1", 0, &address) == 0);
    MUST(uv_tcp_bind(&f->listener, (struct sockaddr *)&address, 0) == 0);
    MUST(uv_listen((uv_stream_t *)&f->listener, 64, on_connection) == 0);
    MUST(uv_tcp_getsockname(&f->listener, (struct sockaddr *)&address, &size) == 0);
    snprintf(f->url, sizeof f->url, "ws://%s:%d/x", host, ntohs(address.sin_port));
}

void fake_secure(struct fake *f, struct fake_tls *tls)
{
    fake_tls_free(f->tls);
    f->tls = tls;
    if (memcmp(f->url, "wss", 3) != 0) {
        memmove(f->url + 3, f->url + 2, strlen(f->url + 2) + 1);
        f->url[2] = 's';
    }
}

void fake_close(struct fake *f)
{
    uv_close((uv_handle_t *)&f->listener, NULL);
    for (struct fake_conn *conn = f->all; conn; conn = conn->next)
        conn_close(conn);
    uv_run(f->loop, UV_RUN_DEFAULT);
    while (f->all) {
        struct fake_conn *conn = f->all;
        f->all = conn->next;
        free(conn);
    }
    ws_pool_free(f->frames);
    fake_tls_free(f->tls);
}
