/* One client's socket on a worker's loop.
 *
 * It is a uv_poll_t and not a uv_tcp_t: 88 bytes less a connection, and what is unsent stays in the
 * log instead of in write requests.
 * Threads: the loop's. */
#ifndef HERMES_NET_CONN_H
#define HERMES_NET_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <uv.h>

struct conn {
    uv_poll_t poll;
    int fd;
    int watched; /* UV_READABLE | UV_WRITABLE */
};

enum { CONN_AGAIN = -1, CONN_BROKEN = -2 };

/* Takes over a connected, non-blocking socket. On an error (a libuv code) it stays the caller's. */
int conn_open(struct conn *c, uv_loop_t *loop, int fd, uv_poll_cb ready);

/* Chooses what `ready` is called for. */
void conn_watch(struct conn *c, bool readable, bool writable);

/* Bytes read, 0 at the end, CONN_AGAIN or CONN_BROKEN. */
ssize_t conn_read(struct conn *c, void *bytes, size_t len);

/* Bytes written, which may be fewer, CONN_AGAIN or CONN_BROKEN. */
ssize_t conn_write(struct conn *c, const struct iovec *pieces, int count);

/* What an errno of a send means: CONN_AGAIN or CONN_BROKEN. */
ssize_t conn_write_failed(int code);

/* Bytes that the peer's side has not acknowledged yet. */
size_t conn_unacknowledged(struct conn *c);

/* Sends the end of the stream; reading goes on. */
void conn_finish(struct conn *c);

/* Closes the socket at once, and calls `closed` when libuv has let go of the handle. `reset`: what
 * the kernel has not sent yet is thrown away. */
void conn_close(struct conn *c, bool reset, uv_close_cb closed);

static inline struct conn *conn_of(uv_poll_t *poll)
{
    return (struct conn *)(void *)poll; /* its first member */
}

#endif
