#include "session/secure.h"

#include "net/tls.h"
#include "session/bearer.h"
#include "session/session.h"
#include "session/worker.h"

enum { USER_MAX = CLAIMS_USER_MAX + 1 };

void session_secure(struct session *s)
{
    struct worker *w = s->worker;
    /* Until its turn comes a poll has nothing new to tell. */
    if (!list_empty(&s->securing))
        conn_watch(&s->conn, &w->poller, false, false);
    else
        list_append(s->conn.tls ? &w->securing : &w->insecure, &s->securing);
}

void session_forget_secure(struct session *s)
{
    if (!s->unsecured)
        return;
    list_remove(&s->securing);
    s->unsecured = false;
    s->catch_ups = NULL;
    s->arrears = NULL;
}

/* Reading goes on as that of any other session. */
static void go_on(struct session *s)
{
    session_forget_secure(s);
    session_watch(s);
}

static void secured(struct session *s)
{
    struct worker *w = s->worker;
    char user[USER_MAX];
    metric_add(&w->metrics, METRIC_tls_handshakes_total, 1);
    LOG_LIMITED(w->shop->logger, LIMIT_OPEN, LOG_DEBUG, "TLS handshake done",
        LOG_STRING("version", tls_version(&s->conn)), LOG_STRING("suite", tls_suite(&s->conn)));
    go_on(s);
    if (tls_user(&s->conn, user, sizeof user) && !session_certified(s, text_of(user)))
        session_end(s, CLOSE_NO_MEMORY, true);
}

static void failed(struct session *s, const struct tls_fault *fault)
{
    static const enum metric metrics[] = {
#define TLS_FAILURE(name, metric, text) METRIC_##metric,
#include "net/tls_failures.def"
#undef TLS_FAILURE
    };
    struct worker *w = s->worker;
    char from[ENDPOINT_TEXT_MAX];
    bool gone = fault->failure == TLS_FAULT_GONE;
    metric_add(&w->metrics, metrics[fault->failure], 1);
    LOG_LIMITED(w->shop->logger, LIMIT_HANDSHAKE, gone ? LOG_DEBUG : LOG_INFO,
        "TLS handshake failed", LOG_STRING("reason", tls_failure_text(fault->failure)),
        LOG_NUMBER("code", fault->code), LOG_STRING("address", session_caller_text(s, from)));
    session_end(s, gone ? CLOSE_LOST : CLOSE_TLS, false);
}

static void step(struct session *s)
{
    struct worker *w = s->worker;
    struct tls_fault fault;
    switch (tls_handshake(&s->conn, w->tls, &fault)) {
    case TLS_DONE:
        secured(s);
        break;
    case TLS_AGAIN:
        list_append(&w->securing, &s->securing);
        break;
    case TLS_WANT_READ:
        conn_watch(&s->conn, &w->poller, true, false);
        break;
    case TLS_WANT_WRITE:
        conn_watch(&s->conn, &w->poller, false, true);
        break;
    case TLS_PLAIN:
        s->refusal = REFUSAL_PLAIN;
        go_on(s);
        break;
    case TLS_FAILED:
        failed(s, &fault);
        break;
    }
}

bool worker_secure(struct worker *w, uint64_t slice_ns)
{
    uint64_t start = 0;
    struct list *queue;
    while (!list_empty(queue = list_empty(&w->securing) ? &w->insecure : &w->securing)) {
        uint64_t now = uv_hrtime();
        start = start ? start : now;
        if (now - start > slice_ns)
            return false;
        bool begun = queue == &w->securing;
        struct list *place = begun ? queue->next : queue->prev;
        struct session *s = LIST_ITEM(place, struct session, securing);
        if (!begun && w->shop->limits.handshake_ms)
            wheel_set(&w->wheel, &s->deadline, w->shop->limits.handshake_ms);
        list_remove(&s->securing);
        step(s);
    }
    return true;
}

void worker_take_tls(struct worker *w)
{
    struct tls_config *config = tls_box_take(&w->shop->tls, w->index);
    if (!config)
        return;
    tls_config_drop(w->tls);
    w->tls = config;
}
