#include "net/poller.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "net/conn.h"

enum { EVENTS_A_ROUND = 1024 };

static void round_of_events(uv_poll_t *handle, int status, int events)
{
    struct poller *p = handle->data;
    struct epoll_event found[EVENTS_A_ROUND];
    (void)status;
    (void)events;
    int count = epoll_wait(p->fd, found, EVENTS_A_ROUND, 0);
    p->heavy = 0;
    for (int i = 0; i < count && p->heavy < POLLER_HEAVY; i++) {
        struct conn *c = found[i].data.ptr;
        int what = 0;
        if (found[i].events & (EPOLLIN | EPOLLHUP))
            what |= CONN_READABLE;
        if (found[i].events & (EPOLLOUT | EPOLLHUP))
            what |= CONN_WRITABLE;
        what &= c->watched;
        if (found[i].events & EPOLLERR)
            what |= CONN_FAULT;
        if (what && c->watched && c->fd >= 0)
            p->ready(c, what);
    }
}

int poller_open(struct poller *p, uv_loop_t *loop, void (*ready)(struct conn *c, int events))
{
    *p = (struct poller){.fd = epoll_create1(EPOLL_CLOEXEC), .ready = ready};
    if (p->fd < 0)
        return uv_translate_sys_error(errno);
    int code = uv_poll_init(loop, &p->handle, p->fd);
    if (code == 0) {
        p->handle.data = p;
        code = uv_poll_start(&p->handle, UV_READABLE, round_of_events);
    }
    if (code != 0)
        close(p->fd);
    return code;
}

void poller_close(struct poller *p)
{
    uv_close((uv_handle_t *)&p->handle, NULL);
    close(p->fd);
}
