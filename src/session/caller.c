/* Who a session's client is: the socket's peer, or whom proxies in between tell of. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/die.h"
#include "net/forwarded.h"
#include "net/proxy_head.h"
#include "proto/http_head.h"
#include "session/session.h"
#include "session/worker.h"

/* Only for whom a proxy told of, and who comes through TLS, where a reset tells something: of all
 * others the socket knows, and they have the bare address. */
struct caller {
    struct endpoint endpoint;
    struct address *address; /* NULL: not counted */
};

struct endpoint session_caller(const struct session *s)
{
    return s->told ? s->caller->endpoint : endpoint_of_peer(s->conn.fd);
}

const char *session_caller_text(const struct session *s, char out[ENDPOINT_TEXT_MAX])
{
    struct endpoint caller = session_caller(s);
    return endpoint_text(&caller, out);
}

static bool tell(struct session *s, struct endpoint endpoint)
{
    if (!s->told) {
        struct caller *caller = malloc(sizeof *caller);
        if (!caller)
            return false;
        caller->address = s->address;
        s->caller = caller;
        s->told = true;
    }
    s->caller->endpoint = endpoint;
    return true;
}

void session_keep_caller(struct session *s)
{
    (void)tell(s, endpoint_of_peer(s->conn.fd)); /* without memory the socket is asked, as ever */
}

static void count(struct session *s, struct ip ip)
{
    struct address **address = s->told ? &s->caller->address : &s->address;
    if (s->refusal == REFUSAL_UNDECIDED)
        s->refusal =
            address_hold(s->worker->shop->addresses, &ip, address) ? REFUSAL_NONE : REFUSAL_ADDRESS;
}

void session_forget_caller(struct session *s)
{
    address_drop(s->worker->shop->addresses, s->told ? s->caller->address : s->address);
    if (s->told)
        free(s->caller);
    s->told = false;
    s->address = NULL;
}

/* --- the PROXY header ------------------------------------------------------------------------- */

/* It is whole. */
static bool hear_proxy_head(struct session *s, struct endpoint source)
{
    if (s->head)
        buf_fini(s->head);
    free(s->head);
    s->head = NULL;
    s->heralded = false;
    if (ip_is_known(&source.ip) && !tell(s, source)) {
        session_end(s, CLOSE_NO_MEMORY, true);
        return false;
    }
    /* A proxy behind the first one will tell more. */
    struct endpoint caller = session_caller(s);
    if (!cidr_has(&s->worker->shop->trusted, &caller.ip))
        count(s, caller.ip);
    return true;
}

/* What of the header has come is taken from the socket at once, so that a poll tells of more only
 * when there is more; the kernel is only asked for bytes that have been seen to be the header's. */
bool session_read_proxy_head(struct session *s)
{
    struct worker *w = s->worker;
    size_t before = s->head ? s->head->len : 0;
    if (before > 0)
        memcpy(w->buffer, s->head->data, before);
    char *fresh = w->buffer + before;
    ssize_t got = recv(s->conn.fd, fresh, PROXY_HEAD_MAX - before, MSG_PEEK);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return false;
    if (got <= 0) {
        session_end(s, CLOSE_LOST, false);
        return false;
    }
    struct endpoint source;
    size_t len = before + (size_t)got;
    size_t used = len;
    enum proxy_result result = proxy_head_read(&source, w->buffer, len, &used);
    if (result == PROXY_BAD) {
        session_end(s, CLOSE_PROXY_HEAD, false);
        return false;
    }
    ssize_t taken = (ssize_t)(used - before);
    MUST(recv(s->conn.fd, fresh, (size_t)taken, 0) == taken);
    metric_add(&w->metrics, METRIC_bytes_received_total, taken);
    if (result == PROXY_DONE)
        return hear_proxy_head(s, source);
    if (!session_keep_head(s, fresh, (size_t)taken))
        session_end(s, CLOSE_NO_MEMORY, true);
    return false;
}

/* --- the request ------------------------------------------------------------------------------ */

bool session_hear_proxies(struct session *s, const struct http_head *head)
{
    const struct cidr_list *trusted = &s->worker->shop->trusted;
    if (trusted->count == 0 && s->refusal != REFUSAL_UNDECIDED)
        return true;
    struct endpoint peer = session_caller(s);
    struct text lines[HTTP_HEADERS_MAX];
    size_t line_count = 0;
    for (size_t i = 0; i < head->header_count; i++)
        if (http_is_named(&head->headers[i], "X-Forwarded-For"))
            lines[line_count++] = head->headers[i].value;
    struct endpoint client = forwarded_client(trusted, peer, lines, line_count);
    bool same = memcmp(&client.ip, &peer.ip, sizeof peer.ip) == 0;
    if (!same && !tell(s, client))
        return false;
    count(s, client.ip);
    return true;
}
