#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cluster/redis_wire_state.h"

static int plug_in(struct redis_wire *w, const struct addrinfo *to)
{
    int yes = 1;
    struct redis_plug *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    int code = p->fd < 0 ? -errno : 0;
    if (code == 0 && connect(p->fd, to->ai_addr, to->ai_addrlen) != 0 && errno != EINPROGRESS)
        code = -errno;
    if (code == 0)
        code = uv_poll_init(w->loop, &p->poll, p->fd);
    if (code != 0) {
        if (p->fd >= 0)
            close(p->fd);
        free(p);
        return code;
    }
    (void)setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    (void)setsockopt(p->fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    p->poll.data = p;
    p->wire = w;
    w->plug = p;
    return 0;
}

static void on_patience(uv_timer_t *timer);

void redis_dial_wait(struct redis_wire *w)
{
    uv_timer_start(w->timer, on_patience, w->patience_ms, 0);
}

static void dial(struct redis_wire *w)
{
    w->state = WIRE_DIALLING;
    while (w->next) {
        const struct addrinfo *to = w->next;
        w->next = to->ai_next;
        int code = plug_in(w, to);
        if (code == 0) {
            redis_wire_watch(w);
            redis_dial_wait(w);
            return;
        }
        snprintf(w->problem, sizeof w->problem, "%s", uv_strerror(code));
    }
    uv_timer_stop(w->timer);
    redis_wire_broken(w, w->problem);
}

void redis_dial_failed(struct redis_wire *w, const char *why)
{
    snprintf(w->problem, sizeof w->problem, "%s", why);
    redis_wire_unplug(w);
    dial(w);
}

static void on_patience(uv_timer_t *timer)
{
    struct redis_wire *w = timer->data;
    redis_wire_enter(w);
    if (w->lookup)
        redis_wire_broken(w, "its name could not be looked up in time");
    else
        redis_dial_failed(w,
            w->state == WIRE_SHAKING ? "no answer to the TLS handshake" : "no answer to connect");
    redis_wire_leave(w);
}

static void looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct redis_lookup *lookup = (struct redis_lookup *)request;
    struct redis_wire *w = lookup->wire;
    free(lookup);
    if (!w) {
        uv_freeaddrinfo(found);
        return;
    }
    redis_wire_enter(w);
    w->lookup = NULL;
    w->found = found;
    w->next = found;
    if (status == 0)
        dial(w);
    else
        redis_wire_broken(w, uv_strerror(status));
    redis_wire_leave(w);
}

int redis_dial_start(struct redis_wire *w)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    w->lookup = calloc(1, sizeof *w->lookup);
    if (!w->lookup)
        return UV_ENOMEM;
    w->lookup->wire = w;
    int code =
        uv_getaddrinfo(w->loop, &w->lookup->request, looked_up, w->url->host, w->url->port, &hints);
    if (code != 0) {
        free(w->lookup);
        w->lookup = NULL;
    }
    return code;
}

void redis_dial_stop(struct redis_wire *w)
{
    if (!w->lookup)
        return;
    w->lookup->wire = NULL;
    uv_cancel((uv_req_t *)&w->lookup->request);
    w->lookup = NULL;
}
