#include "loop/bell.h"

#include "base/die.h"

#if BELL_IS_ASYNC

static void heard(uv_async_t *handle)
{
    struct bell *b = handle->data;
    b->rang(b->user);
}

int bell_open(struct bell *b, uv_loop_t *loop, void (*rang)(void *user), void *user)
{
    *b = (struct bell){.rang = rang, .user = user};
    b->handle.data = b;
    return uv_async_init(loop, &b->handle, heard);
}

void bell_ring(struct bell *b)
{
    uv_async_send(&b->handle);
}

void bell_close(struct bell *b)
{
    uv_close((uv_handle_t *)&b->handle, NULL);
}

#else

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void heard(uv_poll_t *handle, int status, int events)
{
    struct bell *b = handle->data;
    uint64_t rings;
    (void)status;
    (void)events;
    if (read(b->fd, &rings, sizeof rings) == sizeof rings)
        b->rang(b->user);
}

int bell_open(struct bell *b, uv_loop_t *loop, void (*rang)(void *user), void *user)
{
    *b = (struct bell){.rang = rang, .user = user, .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    if (b->fd < 0)
        return uv_translate_sys_error(errno);
    int code = uv_poll_init(loop, &b->handle, b->fd);
    if (code == 0) {
        b->handle.data = b;
        code = uv_poll_start(&b->handle, UV_READABLE, heard);
    }
    if (code != 0)
        close(b->fd);
    return code;
}

void bell_ring(struct bell *b)
{
    /* EAGAIN: it has rung more often than it can count, and so is heard. */
    MUST(write(b->fd, &(uint64_t){1}, sizeof(uint64_t)) == sizeof(uint64_t) || errno == EAGAIN);
}

void bell_close(struct bell *b)
{
    uv_close((uv_handle_t *)&b->handle, NULL);
    close(b->fd);
}

#endif
