/* Workers without threads: the test turns their loops itself, and so chooses what lies between two
 * turns.
 *
 * Order: rig_open, then clients as wanted, rig_close. Clients are AF_UNIX socket pairs, on which
 * nothing is on its way: what one end has sent the other can read. Include cmocka.h before this. */
#ifndef HERMES_SUPPORT_WORKER_HARNESS_H
#define HERMES_SUPPORT_WORKER_HARNESS_H

#include <fcntl.h>
#include <sys/ioctl.h>

#include "proto/ws_out.h"
#include "session/drain.h"
#include "session/session.h"
#include "session/worker.h"
#include "support/peer.h"

enum { RIG_WORKERS = 2, SMALL_BUFFER = 1 /* the smallest the kernel gives: about 4 KiB */ };

struct rig {
    struct workshop shop;
    struct logger logger;
    struct addresses addresses;
    struct mailbox *boxes[RIG_WORKERS];
    int null;
};

struct client {
    struct peer peer;
    struct session *session; /* not to be used once it has ended and the loop has turned */
};

static inline void rig_ended(void *user)
{
    (void)user;
}

/* No deadlines, no limits but those that something needs. */
static inline struct session_limits rig_limits(void)
{
    return (struct session_limits){.message_bytes = 1 << 20, .topic_bytes = 1024, .pong_ms = 10000};
}

/* `history_bytes`: for all histories, 0: no limit. */
static inline void rig_open_with(
    struct rig *r, unsigned workers, struct session_limits limits, size_t history_bytes)
{
    size_t bytes = workers * ((sizeof(struct worker) + 63) / 64 * 64);
    memset(r, 0, sizeof *r);
    r->null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    logger_init(&r->logger, r->null, LOG_DEBUG, false);
    addresses_init(&r->addresses, 100);
    r->shop.limits = limits;
    r->shop.io_uring = true;
    r->shop.logger = &r->logger;
    r->shop.addresses = &r->addresses;
    r->shop.ended = rig_ended;
    r->shop.route.boxes = r->boxes;
    r->shop.route.crowded = 4 << 20;
    route_init(&r->shop.route, workers, history_bytes);
    rules_box_init(&r->shop.rules);
    keys_box_init(&r->shop.keys);
    tls_box_init(&r->shop.tls);
    r->shop.client_key = 7;
    r->shop.workers = aligned_alloc(64, bytes);
    assert_non_null(r->shop.workers);
    memset(r->shop.workers, 0, bytes);
    for (; r->shop.count < workers; r->shop.count++) {
        struct worker *w = &r->shop.workers[r->shop.count];
        assert_int_equal(worker_init(w, &r->shop, r->shop.count), 0);
        worker_open_ring(w);
    }
}

static inline void rig_open(struct rig *r, unsigned workers, struct session_limits limits)
{
    rig_open_with(r, workers, limits, 0);
}

static inline int64_t rig_metric(struct rig *r, enum metric which)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < r->shop.count; i++)
        sum += metric_get(&r->shop.workers[i].metrics, which);
    return sum;
}

static inline void rig_end_session(void *item, void *user)
{
    (void)user;
    session_end(item, CLOSE_LOST, true);
}

/* Ends whatever is left, and checks that every account is even. */
static inline void rig_close(struct rig *r)
{
    for (unsigned i = 0; i < r->shop.count; i++) {
        struct worker *w = &r->shop.workers[i];
        slab_each(&w->sessions, rig_end_session, NULL);
        worker_drain(w);
        uv_run(&w->loop, UV_RUN_DEFAULT);
        assert_true(w->closing);
        assert_int_equal(w->log.charged, 0);
    }
    assert_int_equal(rig_metric(r, METRIC_connections), 0);
    assert_int_equal(rig_metric(r, METRIC_sessions), 0);
    assert_int_equal(rig_metric(r, METRIC_subscriptions), 0);
    assert_int_equal(rig_metric(r, METRIC_blocked_sessions), 0);
    assert_int_equal(rig_metric(r, METRIC_paused_sessions), 0);
    assert_int_equal(atomic_load(&r->shop.connections), 0);
    for (unsigned i = 0; i < r->shop.count; i++)
        worker_fini(&r->shop.workers[i]);
    free(r->shop.workers);
    route_fini(&r->shop.route);
    rules_box_fini(&r->shop.rules);
    keys_box_fini(&r->shop.keys);
    tls_box_fini(&r->shop.tls);
    addresses_fini(&r->addresses);
    logger_fini(&r->logger);
    close(r->null);
}

static inline void rig_turn(struct rig *r)
{
    for (unsigned i = 0; i < r->shop.count; i++)
        uv_run(&r->shop.workers[i].loop, UV_RUN_NOWAIT);
}

/* Until what the clients have sent is read, delivered on either worker, and sent. */
static inline void rig_settle(struct rig *r)
{
    for (int i = 0; i < 8; i++)
        rig_turn(r);
}

/* --- rules ------------------------------------------------------------------------------------ */

/* Puts other rules in force, whose patterns are copied. The workers have their mail; they take them
 * when they turn for the second time. */
static inline void rig_use_rules(struct rig *r, const struct rule *list, size_t count)
{
    struct rule *copy = malloc(count * sizeof *copy);
    assert_non_null(copy);
    for (size_t i = 0; i < count; i++) {
        char *match = malloc(list[i].match.len);
        assert_non_null(match);
        memcpy(match, list[i].match.at, list[i].match.len);
        copy[i] = list[i];
        copy[i].match.at = match;
    }
    struct rules *rules = rules_new(copy, count);
    assert_non_null(rules);
    rules_box_put(&r->shop.rules, rules);
    for (unsigned i = 0; i < r->shop.count; i++)
        assert_true(mailbox_post(r->boxes[i], (struct mail){.kind = MAIL_RULES}));
}

/* A rule for the topics that `match` stands for: so many messages are kept of each. */
static inline struct rule rig_keeps(const char *match, uint32_t messages)
{
    struct rule rule = rule_default;
    rule.match = text_of(match);
    rule.history.messages = messages;
    return rule;
}

/* What the rules in force say about a topic; valid until there are others. */
static inline struct route_rule rig_rule(struct rig *r, const char *topic)
{
    struct rules *rules = rules_box_take(&r->shop.rules);
    struct route_rule rule = {rules_find(rules, text_of(topic)), rules_version(rules)};
    rules_drop(rules); /* the box holds them still */
    return rule;
}

/* --- publishing ------------------------------------------------------------------------------- */

/* Publishes as another thread would: nothing is delivered before a turn. */
static inline struct route_result rig_publish(
    struct rig *r, const char *topic, const char *data, size_t len)
{
    struct route *route = &r->shop.route;
    struct text name = text_of(topic);
    uint8_t head[WS_HEAD_MAX];
    size_t head_len = ws_head(head, WS_TEXT, len);
    struct message *m = message_new(head_len + len);
    assert_non_null(m);
    memcpy(m->frames, head, head_len);
    memcpy(m->frames + head_len, data, len);
    return route_publish(route, rig_rule(r, topic), registry_hash(&route->registry, name), name, m);
}

static inline struct route_result rig_publish_text(
    struct rig *r, const char *topic, const char *data)
{
    return rig_publish(r, topic, data, strlen(data));
}

/* `len` bytes that begin with `first`. */
static inline struct route_result rig_publish_large(
    struct rig *r, const char *topic, char first, size_t len)
{
    char *data = malloc(len);
    assert_non_null(data);
    memset(data, 'x', len);
    data[0] = first;
    struct route_result result = rig_publish(r, topic, data, len);
    free(data);
    return result;
}

/* --- clients ---------------------------------------------------------------------------------- */

struct rig_search {
    int fd;
    struct session *found;
};

static inline void rig_is_it(void *item, void *user)
{
    struct session *s = item;
    struct rig_search *search = user;
    if (s->conn.fd == search->fd)
        search->found = s;
}

/* A session in state HEAD. `send_buffer`: of the session's socket; 0: as the system has it. */
static inline void client_connect(
    struct rig *r, unsigned worker, struct client *c, int send_buffer, enum connection_refusal why)
{
    struct worker *w = &r->shop.workers[worker];
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    if (send_buffer)
        setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    *c = (struct client){.peer = {.fd = fds[1]}};
    atomic_fetch_add(&r->shop.connections, 1);
    session_open(w, &(struct connection){.fd = fds[0], .refusal = why});
    struct rig_search search = {.fd = fds[0]};
    slab_each(&w->sessions, rig_is_it, &search);
    c->session = search.found;
}

/* `more`: header lines. */
static inline void client_request_with(struct client *c, const char *target, const char *more)
{
    char request[512];
    int len = snprintf(request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
        target, more);
    assert_true(peer_send_bytes(&c->peer, request, (size_t)len));
}

static inline void client_request(struct client *c, const char *target)
{
    client_request_with(c, target, "");
}

/* The head of the answer, which is there. */
static inline void client_skip_head(struct client *c)
{
    assert_int_equal(peer_fill(&c->peer, false), 1);
    char *end = c->peer.bytes ? memmem(c->peer.bytes, c->peer.len, "\r\n\r\n", 4) : NULL;
    assert_non_null(end);
    if (end)
        c->peer.at = (size_t)(end - c->peer.bytes) + 4;
}

static inline void client_open_with(
    struct rig *r, unsigned worker, struct client *c, int send_buffer, const char *headers)
{
    const char *payload;
    size_t len;
    client_connect(r, worker, c, send_buffer, REFUSAL_NONE);
    assert_non_null(c->session);
    client_request_with(c, "/", headers);
    rig_turn(r);
    assert_int_equal(c->session->state, SESSION_OPEN);
    client_skip_head(c);
    assert_int_equal(peer_try(&c->peer, &payload, &len), PEER_TEXT);
}

/* An open session, whose info frame is read. */
static inline void client_open(struct rig *r, unsigned worker, struct client *c, int send_buffer)
{
    client_open_with(r, worker, c, send_buffer, "");
    assert_false(c->session->enveloped);
}

/* The same at level 2. */
static inline void client_open2(struct rig *r, unsigned worker, struct client *c, int send_buffer)
{
    client_open_with(r, worker, c, send_buffer, "Sec-WebSocket-Protocol: hermes.v2\r\n");
    assert_true(c->session->enveloped);
}

/* Its session is gone after that. */
static inline void client_drop(struct rig *r, struct client *c)
{
    peer_drop(&c->peer, false);
    rig_settle(r);
}

/* As peer_try, but workers turn for as long as that brings bytes. */
static inline int client_next(struct rig *r, struct client *c, const char **payload, size_t *len)
{
    int waiting = 1;
    for (int idle = 0; idle<8; idle = waiting> 0 ? 0 : idle + 1) {
        int got = peer_try(&c->peer, payload, len);
        if (got != PEER_NOTHING)
            return got;
        rig_turn(r);
        if (ioctl(c->peer.fd, FIONREAD, &waiting) != 0)
            break;
    }
    return peer_try(&c->peer, payload, len);
}

/* The next frame is a text that begins with that. */
static inline void client_expect(struct rig *r, struct client *c, const char *start)
{
    const char *payload;
    size_t len;
    assert_int_equal(client_next(r, c, &payload, &len), PEER_TEXT);
    if (!peer_is(payload, len, start))
        fail_msg("%.*s is not %s", (int)len, payload, start);
}

/* The next frame is a text, which is copied with a zero behind it. */
static inline void client_take(struct rig *r, struct client *c, char *out, size_t size)
{
    const char *payload;
    size_t len;
    assert_int_equal(client_next(r, c, &payload, &len), PEER_TEXT);
    assert_true(len < size);
    memcpy(out, payload, len);
    out[len] = '\0';
}

/* The same, and it is exactly that. */
__attribute__((format(printf, 3, 4))) static inline void client_expect_just(
    struct rig *r, struct client *c, const char *format, ...)
{
    char expected[2048], text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(expected, sizeof expected, format, arguments);
    va_end(arguments);
    client_take(r, c, text, sizeof text);
    assert_string_equal(text, expected);
}

static inline void client_expect_nothing(struct rig *r, struct client *c)
{
    const char *payload;
    size_t len;
    assert_int_equal(client_next(r, c, &payload, &len), PEER_NOTHING);
}

/* A close frame with that code, and then the end of the stream. */
static inline void client_expect_close(struct rig *r, struct client *c, int code)
{
    const char *payload;
    size_t len;
    assert_int_equal(client_next(r, c, &payload, &len), PEER_CLOSE);
    assert_int_equal(c->peer.close_code, code);
    assert_int_equal(client_next(r, c, &payload, &len), PEER_END);
}

/* At either level. */
static inline void client_subscribe(struct rig *r, struct client *c, const char *topic)
{
    assert_true(peer_sendf(&c->peer, "{\"type\":\"subscribe\",\"topic\":\"%s\"}", topic));
    client_expect(r, c, "{\"type\":\"ack_subscribe\"");
}

/* At level 2. `more`: keys, each with a comma in front. */
static inline void client_subscribe_with(
    struct rig *r, struct client *c, const char *key, const char *name, const char *more)
{
    assert_true(peer_sendf(&c->peer, "{\"type\":\"subscribe\",\"%s\":\"%s\"%s}", key, name, more));
    client_expect(r, c, "{\"type\":\"ack_subscribe\"");
}

static inline void client_subscribe_pattern(struct rig *r, struct client *c, const char *pattern)
{
    client_subscribe_with(r, c, "pattern", pattern, "");
}

/* Without a command, so without an answer. */
static inline enum join_result client_join(struct client *c, const char *topic)
{
    struct route_joined joined;
    struct text name = text_of(topic);
    struct wish wish = {.name = name, .rule = worker_rule(c->session->worker, name)};
    enum join_result result = session_join(c->session, &wish, &joined);
    if (result == JOIN_OK)
        history_view_fini(&joined.past);
    return result;
}

static inline enum leave_result client_leave(struct client *c, const char *topic)
{
    return session_leave(c->session, text_of(topic), false);
}

/* --- a session without its socket ------------------------------------------------------------- */

static inline void add_frame(struct buf *b, int opcode, const char *payload, size_t len)
{
    uint8_t head[14];
    buf_append(b, head, peer_frame_head(head, opcode, len));
    buf_append(b, payload, len);
}

static inline void add_text(struct buf *b, const char *text)
{
    add_frame(b, PEER_TEXT, text, strlen(text));
}

/* What one read would bring, at once and at the time that the loop has now. */
static inline void feed(struct session *s, struct buf *b)
{
    session_receive(s, b->data, b->len);
    buf_fini(b);
}

static inline void feed_text(struct session *s, const char *text)
{
    struct buf b = {0};
    add_text(&b, text);
    feed(s, &b);
}

/* Queues a frame that begins with `first` and sends what the socket takes, which is not all. */
static inline void block(struct session *s, char first, size_t len)
{
    char *data = malloc(len);
    struct buf b = {0};
    assert_non_null(data);
    memset(data, 'x', len);
    data[0] = first;
    ws_frame(&b, WS_TEXT, data, len);
    session_send(s, buf_text(&b));
    session_flush(s);
    worker_untouch(s->worker, s);
    assert_true(s->blocked);
    buf_fini(&b);
    free(data);
}

#endif
