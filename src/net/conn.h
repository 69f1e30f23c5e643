/* One client's socket on a worker's loop.
 *
 * Threads: the loop's. */
#ifndef HERMES_NET_CONN_H
#define HERMES_NET_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "net/poller.h"

struct conn {
    int fd;      /* -1: closed */
    int watched; /* CONN_READABLE | CONN_WRITABLE */
};

enum { CONN_AGAIN = -1, CONN_BROKEN = -2 };

/* Takes over a connected, non-blocking socket, and watches for what can be read. False, with errno,
 * when the kernel has no room for it: it stays the caller's. */
bool conn_open(struct conn *c, struct poller *poller, int fd);

/* Chooses what it is watched for. With neither, its end is not noticed before it is watched again.
 */
void conn_watch(struct conn *c, struct poller *poller, bool readable, bool writable);

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

/* `reset`: what the kernel has not sent yet is thrown away. */
void conn_close(struct conn *c, struct poller *poller, bool reset);

#endif
