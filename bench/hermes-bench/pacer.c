#include "pacer.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct pacer *p = poll->data;
    uint64_t times;
    (void)events;
    if (status == 0 && read(p->fd, &times, sizeof times) == (ssize_t)sizeof times)
        p->due(p->user);
}

bool pacer_open(struct pacer *p, uv_loop_t *loop, void (*due)(void *user), void *user)
{
    p->due = due;
    p->user = user;
    p->poll.data = p;
    p->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (p->fd < 0)
        return false;
    int code = uv_poll_init(loop, &p->poll, p->fd);
    if (code == 0)
        code = uv_poll_start(&p->poll, UV_READABLE, on_poll);
    if (code == 0)
        return true;
    close(p->fd);
    errno = -code;
    return false;
}

static void set(struct pacer *p, uint64_t moment)
{
    struct itimerspec at = {
        .it_value = {(time_t)(moment / 1000000000), (long)(moment % 1000000000)}};
    timerfd_settime(p->fd, TFD_TIMER_ABSTIME, &at, NULL);
}

void pacer_set(struct pacer *p, uint64_t moment)
{
    set(p, moment ? moment : 1);
}

void pacer_unset(struct pacer *p)
{
    set(p, 0);
}

static void on_closed(uv_handle_t *handle)
{
    struct pacer *p = handle->data;
    close(p->fd);
}

void pacer_close(struct pacer *p)
{
    uv_close((uv_handle_t *)&p->poll, on_closed);
}
