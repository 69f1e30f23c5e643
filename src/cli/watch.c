#include "cli/watch.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

static void polled(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct watch *w = (struct watch *)poll;
    w->ready(w);
}

int watch_open(
    struct watch *w, uv_loop_t *loop, int fd, uint32_t events, void (*ready)(struct watch *w))
{
    struct epoll_event event = {.events = events};
    *w = (struct watch){.ready = ready};
    /* It is this descriptor that libuv makes non-blocking and waits for. */
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (w->epoll_fd < 0)
        return -errno;
    int code = epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
    if (code == 0)
        code = uv_poll_init(loop, &w->poll, w->epoll_fd);
    if (code != 0) {
        close(w->epoll_fd);
        return code;
    }
    w->open = true;
    watch_resume(w);
    return 0;
}

void watch_pause(struct watch *w)
{
    if (w->open)
        uv_poll_stop(&w->poll);
}

void watch_resume(struct watch *w)
{
    if (w->open)
        uv_poll_start(&w->poll, UV_READABLE, polled);
}

static void closed(uv_handle_t *handle)
{
    close(((struct watch *)(void *)handle)->epoll_fd);
}

void watch_close(struct watch *w)
{
    if (!w->open)
        return;
    w->open = false;
    uv_close((uv_handle_t *)&w->poll, closed);
}
