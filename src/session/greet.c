/* The opening handshake, and plain HTTP on the same port. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "hermes/protocol.h"
#include "proto/handshake.h"
#include "proto/http_head.h"
#include "proto/percent.h"
#include "proto/reply.h"
#include "proto/reply2.h"
#include "session/bearer.h"
#include "session/greet.h"
#include "session/session.h"
#include "session/sse.h"
#include "session/worker.h"

/* TLS_FIRST_BYTE: of a client's hello, RFC 8446, section 5.1. */
enum { ORIGIN_LOGGED = 256, TLS_FIRST_BYTE = 0x16, LATER_S = 5 };

/* The first bytes on a fresh socket always fit into its buffer: they are written at once, and a
 * session that gets so far owes nothing. */
static bool write_now(struct session *s, const struct buf *b)
{
    if (b->failed)
        return false;
    struct iovec piece = {b->data, b->len};
    ssize_t wrote = conn_write(&s->conn, &piece, 1);
    struct metrics *metrics = &s->worker->metrics;
    metric_add(metrics, METRIC_writes_total, 1);
    metric_add(metrics, METRIC_bytes_sent_total, wrote > 0 ? wrote : 0);
    return wrote == (ssize_t)b->len && !conn_pending(&s->conn);
}

void greet_answer(struct session *s)
{
    struct worker *w = s->worker;
    if (!write_now(s, &w->scratch)) {
        session_end(s, CLOSE_LOST, true);
        return;
    }
    metric_add(&w->metrics, METRIC_closed_http_total, 1);
    s->state = SESSION_CLOSING;
    s->finished = true;
    s->deaf = true;
    conn_finish(&s->conn);
    wheel_set(&w->wheel, &s->deadline, 1000);
}

static void answer(struct session *s, int status, const char *text, bool head_only)
{
    buf_clear(&s->worker->scratch);
    http_answer(&s->worker->scratch, status, text, head_only);
    greet_answer(s);
}

static void turn_away(struct session *s, const struct admission *why)
{
    buf_clear(&s->worker->scratch);
    http_answer_as(&s->worker->scratch, &(struct http_answer){.status = why->status,
                                            .type = "text/plain; charset=utf-8",
                                            .headers = "",
                                            .body = text_of(why->text),
                                            .retry_s = why->retry_s});
    greet_answer(s);
}

void greet_note_refused(struct session *s, enum metric which, int status, const char *text)
{
    struct worker *w = s->worker;
    char from[ENDPOINT_TEXT_MAX];
    metric_add(&w->metrics, which, 1);
    LOG_LIMITED(w->shop->logger, LIMIT_HANDSHAKE, LOG_INFO, "handshake refused",
        LOG_NUMBER("status", status), LOG_STRING("reason", text),
        LOG_STRING("address", session_caller_text(s, from)));
}

static void refuse(
    struct session *s, enum metric which, int status, const char *text, bool head_only)
{
    greet_note_refused(s, which, status, text);
    answer(s, status, text, head_only);
}

/* Which page it was is for the log only. */
static void note_origin(struct session *s, const char *text, struct text origin)
{
    struct worker *w = s->worker;
    char from[ENDPOINT_TEXT_MAX];
    if (origin.len > ORIGIN_LOGGED)
        origin.len = ORIGIN_LOGGED;
    metric_add(&w->metrics, METRIC_refused_origin_total, 1);
    LOG_LIMITED(w->shop->logger, LIMIT_HANDSHAKE, LOG_INFO, "handshake refused",
        LOG_NUMBER("status", 403), LOG_STRING("reason", text), LOG_TEXT("origin", origin),
        LOG_STRING("address", session_caller_text(s, from)));
}

uint64_t greet_client(struct worker *w)
{
    uint64_t client = 0; /* which is nobody */
    while (client == 0) {
        uint64_t number = w->clients++ * w->shop->count + w->index;
        client = (w->shop->client_key ^ number) * UINT64_C(0x9E3779B97F4A7C15);
    }
    return client;
}

bool greet_open(struct session *s)
{
    struct worker *w = s->worker;
    char from[ENDPOINT_TEXT_MAX];
    if (!write_now(s, &w->scratch)) {
        session_end(s, CLOSE_LOST, true);
        return false;
    }
    s->state = SESSION_OPEN;
    s->reader = NULL;
    s->allowance = (int32_t)w->shop->limits.messages_per_second;
    s->allowance_ms = (uint32_t)uv_now(&w->loop);
    metric_add(&w->metrics, METRIC_sessions, 1);
    if (w->shop->limits.ping_ms)
        wheel_set(&w->wheel, &s->deadline, w->shop->limits.ping_ms);
    else
        wheel_unset(&w->wheel, &s->deadline);
    LOG_LIMITED(w->shop->logger, LIMIT_OPEN, LOG_DEBUG, "session opened",
        LOG_NUMBER("worker", w->index), LOG_STRING("address", session_caller_text(s, from)));
    return true;
}

static void upgrade(struct session *s, const struct request *request)
{
    struct worker *w = s->worker;
    buf_clear(&w->scratch);
    handshake_accept(&w->scratch, request);
    s->enveloped = text_equal(request->protocol, TEXT(HERMES_PROTOCOL_V2));
    s->client = greet_client(w);
    if (s->enveloped)
        reply2_info(&w->scratch, s->client);
    else
        reply_info(&w->scratch);
    greet_open(s);
}

/* 503, and when to come back: not all at once who are refused at once. */
static struct admission later(struct worker *w, const char *text)
{
    uint32_t spread = w->turned_away++ * 0x9E3779B1u >> 16;
    return (struct admission){.status = 503, .text = text, .retry_s = LATER_S + spread % LATER_S};
}

/* Whether it says that it has been here before. Nobody checks that: who says so wrongly gets into a
 * crowd sooner, and nothing else. */
static bool comes_back(const struct http_head *head)
{
    struct text rest = head->query;
    struct text name;
    struct text value;
    while (query_next(&rest, &name, &value))
        if (text_equal(name, TEXT("since")) ||
            (text_equal(name, TEXT("resume")) && text_equal(value, TEXT("1"))))
            return true;
    return http_find(head, "Last-Event-ID") != NULL;
}

/* Whether the broker takes no session from there now; counts and logs it then. */
static bool turned_away(struct session *s, const struct http_head *head,
    const struct request *request, struct admission *out)
{
    struct worker *w = s->worker;
    struct workshop *shop = w->shop;
    enum metric metric = METRIC_handshake_failures_total;
    unsigned wait_s;
    if (atomic_load_explicit(&shop->unready, memory_order_relaxed)) {
        metric = METRIC_refused_draining_total;
        *out = later(w, "This server is shutting down. Connect again in a moment.");
    } else if (!origins_allow(&shop->origins, request->origin)) {
        *out = (struct admission){
            .status = 403, .text = "Pages of this origin may not connect to this server."};
        note_origin(s, out->text, request->origin);
        return true;
    } else if (s->refusal == REFUSAL_FULL) {
        metric = METRIC_refused_full_total;
        *out = later(w, "This server has as many connections as it may have. Try again later.");
    } else if (s->refusal == REFUSAL_ADDRESS) {
        metric = METRIC_refused_address_total;
        *out = later(
            w, "There are too many connections from your address. Close some, or try again later.");
    } else if (shop->gate.each_ns != 0 &&
               (wait_s = gate_enter(&shop->gate, clock_ns(), comes_back(head))) != 0) {
        metric = METRIC_refused_rate_total;
        *out = (struct admission){.status = 503,
            .text = "Too many connections are coming in at the moment. Try again in a few seconds.",
            .retry_s = wait_s};
    } else if (session_admit(s, head, out)) {
        return false;
    }
    greet_note_refused(s, metric, out->status, out->text);
    return true;
}

static void answer_request(
    struct session *s, const struct http_head *head, const struct request *request)
{
    struct admission refusal = {.retry_s = 0};
    struct worker *w = s->worker;
    const char *reason = shop_unready(w->shop);
    if (s->refusal == REFUSAL_PLAIN) {
        refuse(s, METRIC_refused_plain_total, 400,
            "This port is for TLS: connect to it by wss:// or https://.", request->head_only);
        return;
    }
    switch (request->kind) {
    case REQUEST_HEALTHZ:
        metric_add(&w->metrics, METRIC_http_requests_total, 1);
        answer(s, 200, "ok", request->head_only);
        break;
    case REQUEST_READYZ:
        metric_add(&w->metrics, METRIC_http_requests_total, 1);
        answer(s, reason ? 503 : 200, reason ? reason : "ready", request->head_only);
        break;
    case REQUEST_REFUSED:
        refuse(s, METRIC_handshake_failures_total, request->status, request->reason,
            request->head_only);
        break;
    case REQUEST_UPGRADE:
        if (turned_away(s, head, request, &refusal))
            turn_away(s, &refusal);
        else
            upgrade(s, request);
        break;
    case REQUEST_EVENTS:
        if (turned_away(s, head, request, &refusal))
            sse_refuse(s, request, &refusal);
        else
            sse_open(s, head, request);
        break;
    case REQUEST_PREFLIGHT:
        metric_add(&w->metrics, METRIC_http_requests_total, 1);
        sse_preflight(s, request);
        break;
    }
}

bool session_keep_head(struct session *s, const char *bytes, size_t len)
{
    if (!s->head)
        s->head = calloc(1, sizeof *s->head);
    if (!s->head)
        return false;
    buf_append(s->head, bytes, len);
    return !s->head->failed;
}

void session_greet(struct session *s, char *bytes, size_t len)
{
    s->worker->poller.heavy++;
    struct http_head head;
    size_t used = 0;
    if (s->head) {
        if (!session_keep_head(s, bytes, len)) {
            session_end(s, CLOSE_NO_MEMORY, true);
            return;
        }
        bytes = s->head->data;
        len = s->head->len;
    }
    enum http_result result = http_head_read(&head, bytes, len, &used);
    if (result == HTTP_MORE) {
        if (!s->head && !session_keep_head(s, bytes, len))
            session_end(s, CLOSE_NO_MEMORY, true);
        return;
    }
    /* The request's texts may point into it, so it stays until the answer is written. */
    struct buf *kept = s->head;
    s->head = NULL;
    if (result == HTTP_DONE) {
        struct request request;
        request_read(&request, &head);
        if (session_hear_proxies(s, &head))
            answer_request(s, &head, &request);
        else
            session_end(s, CLOSE_NO_MEMORY, true);
        if (s->worker->keys) /* there may have been a token */
            explicit_bzero(bytes, used);
        /* What came behind the head are frames already. */
        if (s->state == SESSION_OPEN && used < len && !s->deaf)
            session_receive(s, bytes + used, len - used);
    } else {
        bool large = result == HTTP_LARGE;
        refuse(s, METRIC_handshake_failures_total, large ? 431 : 400,
            large                        ? "The request head is larger than 8 KiB."
            : bytes[0] == TLS_FIRST_BYTE ? "This port is not for TLS: connect to it by ws://."
                                         : "This is not a well-formed HTTP request.",
            false);
    }
    if (kept)
        buf_fini(kept);
    free(kept);
}
