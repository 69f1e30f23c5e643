#include "unit/cluster/fake_redis.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/tls_client.h"

enum { PATIENCE_MS = 20000, ARGS_MOST = 16 };

/* ---- the server ---- */

static void conn_closed(uv_handle_t *handle)
{
    struct fake_conn *conn = handle->data;
    struct fake_redis *fake = &conn->scene->fake;
    for (struct fake_conn **at = &fake->conns; *at; at = &(*at)->next)
        if (*at == conn) {
            *at = conn->next;
            break;
        }
    if (fake->newest == conn)
        fake->newest = NULL;
    fake_veil_free(conn->veil);
    buf_fini(&conn->in);
    buf_fini(&conn->out);
    free(conn);
}

static void conn_close(struct fake_conn *conn)
{
    if (!conn->closing)
        uv_close((uv_handle_t *)&conn->tcp, conn_closed);
    conn->closing = true;
}

static void conn_write(struct fake_conn *conn, const char *bytes, size_t len)
{
    while (len > 0 && !conn->closing) {
        union {
            const char *in;
            char *out;
        } at = {bytes};
        uv_buf_t buf = uv_buf_init(at.out, (unsigned)(conn->scene->fake.slow ? 1 : len));
        int sent = uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
        if (sent < 0)
            return;
        bytes += sent;
        len -= (size_t)sent;
    }
}

static void conn_flush(struct fake_conn *conn)
{
    struct buf veiled = {0};
    if (conn->veil && conn->out.len > 0)
        fake_veil_write(conn->veil, conn->out.data, conn->out.len, &veiled);
    const struct buf *out = conn->veil ? &veiled : &conn->out;
    conn_write(conn, out->data, out->len);
    buf_clear(&conn->out);
    buf_fini(&veiled);
}

static bool is(struct text arg, const char *word)
{
    return text_equal(arg, text_of(word));
}

static void say_bulk(struct buf *out, struct text text)
{
    buf_appendf(out, "$%zu\r\n%.*s\r\n", text.len, (int)text.len, text.at);
}

static void answer_channels(struct buf *out, unsigned argc, const struct text *argv)
{
    bool yes = is(argv[0], "SUBSCRIBE");
    for (unsigned i = 1; i < argc; i++) {
        buf_append_string(out, yes ? "*3\r\n$9\r\nsubscribe\r\n" : "*3\r\n$11\r\nunsubscribe\r\n");
        say_bulk(out, argv[i]);
        buf_appendf(out, ":%u\r\n", i);
    }
}

static void answer(struct fake_conn *conn, unsigned argc, const struct text *argv)
{
    struct fake_redis *fake = &conn->scene->fake;
    struct buf *out = &conn->out;
    if (fake->mute)
        return;
    if (is(argv[0], "AUTH")) {
        if (fake->parrot)
            buf_appendf(out, "-ERR unknown command 'AUTH', with args beginning with: '%.*s'\r\n",
                (int)argv[argc - 1].len, argv[argc - 1].at);
        else
            buf_append_string(out, fake->password && is(argv[argc - 1], fake->password)
                                       ? "+OK\r\n"
                                       : "-WRONGPASS invalid username-password pair\r\n");
    } else if (is(argv[0], "PING")) {
        if (fake->loading > 0)
            fake->loading--, buf_append_string(out, "-LOADING Redis is loading\r\n");
        else
            buf_append_string(out, "+PONG\r\n");
    } else if (is(argv[0], "ROLE")) {
        buf_append_string(out, "*3\r\n");
        say_bulk(out, text_of(fake->role));
        buf_append_string(out, ":0\r\n*0\r\n");
    } else if (is(argv[0], "INFO")) {
        say_bulk(out, text_of(fake->info ? fake->info : "# Server\r\nredis_version:7.0\r\n"));
    } else if (is(argv[0], "SCRIPT")) {
        buf_appendf(out, "$40\r\n%040u\r\n", ++fake->scripts);
    } else if (is(argv[0], "SUBSCRIBE") || is(argv[0], "UNSUBSCRIBE")) {
        answer_channels(out, argc, argv);
    } else if (is(argv[0], "EVALSHA") && fake->lost > 0) {
        fake->lost--;
        buf_append_string(out, "-NOSCRIPT No matching script. Please use EVAL.\r\n");
    } else if (fake->instead) {
        buf_append_string(out, fake->instead);
    } else if (is(argv[0], "ECHO")) {
        say_bulk(out, argv[1]);
    } else {
        buf_append_string(out, "+OK\r\n");
    }
}

static bool number_read(const char **at, const char *end, char mark, size_t *number)
{
    const char *stop = memmem(*at, (size_t)(end - *at), "\r\n", 2);
    if (!stop)
        return false;
    assert_int_equal(**at, mark);
    *number = strtoul(*at + 1, NULL, 10);
    *at = stop + 2;
    return true;
}

/* One command off the front; false when it is not whole. */
static bool command_take(struct fake_conn *conn)
{
    const char *at = conn->in.data;
    const char *end = at + conn->in.len;
    struct text argv[ARGS_MOST];
    size_t argc;
    struct buf *heard = &conn->scene->fake.heard;
    if (conn->in.len == 0 || !number_read(&at, end, '*', &argc))
        return false;
    assert_in_range(argc, 1, ARGS_MOST);
    for (size_t i = 0; i < argc; i++) {
        size_t len;
        if (!number_read(&at, end, '$', &len) || (size_t)(end - at) < len + 2)
            return false;
        argv[i] = (struct text){at, len};
        assert_memory_equal(at + len, "\r\n", 2);
        at += len + 2;
    }
    for (size_t i = 0; i < argc; i++) {
        buf_append_text(heard, argv[i]);
        buf_append_char(heard, i + 1 < argc ? ' ' : '\n');
    }
    answer(conn, (unsigned)argc, argv);
    size_t used = (size_t)(at - conn->in.data);
    conn->in.len -= used;
    memmove(conn->in.data, at, conn->in.len);
    return true;
}

static void give_bytes(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    static char bytes[65536];
    (void)handle;
    (void)suggested;
    *out = uv_buf_init(bytes, sizeof bytes);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *bytes)
{
    struct fake_conn *conn = stream->data;
    bool goes_on = len > 0;
    if (len == 0)
        return;
    if (len > 0 && conn->veil) {
        struct buf out = {0};
        goes_on = fake_veil_feed(conn->veil, bytes->base, (size_t)len, &conn->in, &out);
        conn_write(conn, out.data, out.len);
        buf_fini(&out);
    } else if (len > 0) {
        buf_append(&conn->in, bytes->base, (size_t)len);
    }
    conn->scene->fake.writes++;
    while (goes_on && command_take(conn))
        ;
    conn_flush(conn);
    if (!goes_on)
        conn_close(conn);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct scene *s = listener->data;
    assert_int_equal(status, 0);
    struct fake_conn *conn = calloc(1, sizeof *conn);
    assert_non_null(conn);
    uv_tcp_init(&s->loop, &conn->tcp);
    conn->tcp.data = conn;
    conn->scene = s;
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&conn->tcp), 0);
    uv_tcp_nodelay(&conn->tcp, 1);
    conn->veil = s->fake.tls ? fake_veil_new(s->fake.tls) : NULL;
    conn->next = s->fake.conns;
    s->fake.conns = s->fake.newest = conn;
    s->fake.accepted++;
    if (!s->fake.deaf)
        uv_read_start((uv_stream_t *)&conn->tcp, give_bytes, on_read);
}

void fake_say(struct scene *s, const char *bytes, size_t len)
{
    assert_non_null(s->fake.newest);
    buf_append(&s->fake.newest->out, bytes, len);
    conn_flush(s->fake.newest);
}

void fake_hang_up(struct scene *s)
{
    assert_non_null(s->fake.newest);
    conn_close(s->fake.newest);
}

/* ---- the link ---- */

static void event(struct scene *s)
{
    if (s->in_event)
        s->in_event(s);
}

static void on_up(struct redis_link *l, void *user)
{
    struct scene *s = user;
    assert_true(redis_link_is_up(l));
    s->ups++;
    buf_append_string(&s->log, "up\n");
    event(s);
}

static void on_down(struct redis_link *l, const char *reason, void *user)
{
    struct scene *s = user;
    assert_false(redis_link_is_up(l));
    s->downs++;
    buf_appendf(&s->log, "down: %s\n", reason);
    event(s);
}

static void on_message(struct redis_link *l, struct text channel, struct text payload, void *user)
{
    struct scene *s = user;
    (void)l;
    buf_appendf(
        &s->log, "message %.*s %.*s\n", (int)channel.len, channel.at, (int)payload.len, payload.at);
    event(s);
}

static void on_subscribed(struct redis_link *l, struct text channel, bool yes, void *user)
{
    struct scene *s = user;
    (void)l;
    buf_appendf(&s->log, "%ssubscribed %.*s\n", yes ? "" : "un", (int)channel.len, channel.at);
    event(s);
}

static void on_settled(struct redis_link *l, void *user)
{
    struct scene *s = user;
    (void)l;
    s->settled++;
}

static void lost_patience(uv_timer_t *timer)
{
    struct scene *s = timer->data;
    fail_msg("nothing came of it; told: %.*s heard: %.*s", (int)s->log.len, s->log.data,
        (int)s->fake.heard.len, s->fake.heard.data);
}

void scene_url(struct scene *s, const char *text)
{
    char error[200] = "";
    redis_urls_free(s->url, s->url ? 1 : 0);
    if (redis_urls_read(text, &s->url, error, sizeof error) != 1)
        fail_msg("%s: %s", text, error);
    s->settings.url = s->url;
}

static unsigned fake_port(struct scene *s)
{
    struct sockaddr_in at;
    int len = sizeof at;
    assert_int_equal(uv_tcp_getsockname(&s->fake.listener, (struct sockaddr *)&at, &len), 0);
    return ntohs(at.sin_port);
}

void scene_open(struct scene *s)
{
    struct sockaddr_in any;
    char url[80];
    memset(s, 0, sizeof *s);
    assert_int_equal(uv_loop_init(&s->loop), 0);
    uv_timer_init(&s->loop, &s->patience);
    s->patience.data = s;
    uv_timer_start(&s->patience, lost_patience, PATIENCE_MS, 0);
    s->fake.role = "master";
    uv_tcp_init(&s->loop, &s->fake.listener);
    s->fake.listener.data = s;
    uv_ip4_addr("127.0.0.1", 0, &any);
    assert_int_equal(uv_tcp_bind(&s->fake.listener, (struct sockaddr *)&any, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&s->fake.listener, 16, on_connection), 0);
    assert_int_equal(pipe2(s->log_pipe, O_CLOEXEC | O_NONBLOCK), 0);
    logger_init(&s->logger, s->log_pipe[1], LOG_DEBUG, false);
    s->events = (struct redis_link_events){on_up, on_down, on_message, on_subscribed, on_settled};
    s->settings = (struct redis_link_settings){.silence_ms = 10000,
        .most_unsent = 1 << 20,
        .most_waiting = 1000,
        .events = &s->events,
        .logger = &s->logger,
        .user = s};
    snprintf(url, sizeof url, "redis://127.0.0.1:%u", fake_port(s));
    scene_url(s, url);
}

void scene_tls(struct scene *s, enum fake_certificate which)
{
    struct tls_client_paths paths = {.ca = fake_tls_ca()};
    struct tls_report report;
    char url[80];
    s->fake.tls = fake_tls_new(which, false);
    snprintf(url, sizeof url, "rediss://127.0.0.1:%u", fake_port(s));
    scene_url(s, url);
    s->trust = tls_trust_load(&paths, &report);
    assert_non_null(s->trust);
    s->settings.trust = s->trust;
}

void scene_link(struct scene *s)
{
    s->link = redis_link_new(&s->loop, &s->settings);
    assert_non_null(s->link);
}

void scene_drop_link(struct scene *s)
{
    redis_link_close(s->link);
    s->link = NULL;
}

void scene_close(struct scene *s)
{
    if (s->link)
        scene_drop_link(s);
    uv_close((uv_handle_t *)&s->fake.listener, NULL);
    uv_close((uv_handle_t *)&s->patience, NULL);
    for (struct fake_conn *conn = s->fake.conns; conn; conn = conn->next)
        conn_close(conn);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    if (s->trust)
        tls_trust_drop(s->trust);
    if (s->fake.tls)
        fake_tls_free(s->fake.tls);
    redis_urls_free(s->url, 1);
    logger_fini(&s->logger);
    close(s->log_pipe[0]);
    close(s->log_pipe[1]);
    buf_fini(&s->fake.heard);
    buf_fini(&s->log);
}

static void until(struct scene *s, struct buf *lines, const char *wanted)
{
    const char *found;
    while (!(found = lines->len ? memmem(lines->data, lines->len, wanted, strlen(wanted)) : NULL))
        uv_run(&s->loop, UV_RUN_ONCE);
    found += strlen(wanted);
    lines->len -= (size_t)(found - lines->data);
    memmove(lines->data, found, lines->len);
}

void scene_until(struct scene *s, const char *told)
{
    until(s, &s->log, told);
}

void scene_until_heard(struct scene *s, const char *heard)
{
    until(s, &s->fake.heard, heard);
}

void scene_turns(struct scene *s, unsigned turns)
{
    while (turns-- > 0)
        uv_run(&s->loop, UV_RUN_NOWAIT);
}

struct asked {
    struct scene *scene;
    char name[40];
};

static void on_answer(const struct resp *r, void *user)
{
    struct asked *asked = user;
    struct scene *s = asked->scene;
    buf_appendf(&s->log, "%s: ", asked->name);
    if (!r)
        buf_append_string(&s->log, "lost");
    else if (r->kind == RESP_INTEGER)
        buf_appendf(&s->log, "%lld", (long long)r->integer);
    else
        buf_append_text(&s->log, r->text);
    buf_append_char(&s->log, '\n');
    free(asked);
    event(s);
}

bool scene_send(struct scene *s, const char *words, const char *name)
{
    unsigned count = 1;
    for (const char *at = words; *at; at++)
        count += *at == ' ';
    redis_begin(s->link, count);
    while (count-- > 0) {
        size_t len = strcspn(words, " ");
        redis_arg(s->link, (struct text){words, len});
        words += len + (words[len] != 0);
    }
    if (s->settings.subscribes)
        return redis_send(s->link, NULL, NULL);
    struct asked *asked = calloc(1, sizeof *asked);
    assert_non_null(asked);
    asked->scene = s;
    snprintf(asked->name, sizeof asked->name, "%s", name);
    bool sent = (s->unhurried ? redis_send_unhurried : redis_send)(s->link, on_answer, asked);
    if (!sent)
        free(asked);
    return sent;
}

const char *scene_logged(struct scene *s, char *bytes, size_t size)
{
    ssize_t got = read(s->log_pipe[0], bytes, size - 1);
    bytes[got > 0 ? got : 0] = 0;
    return bytes;
}
