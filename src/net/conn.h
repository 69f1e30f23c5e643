/* One client's socket on a worker's loop, in the clear or (once a handshake was made, see
 * net/tls.h) through TLS.
 *
 * Threads: the loop's. */
#ifndef HERMES_NET_CONN_H
#define HERMES_NET_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "net/poller.h"

struct tls;

struct conn {
    int fd;               /* -1: closed */
    uint32_t watched : 2; /* CONN_READABLE | CONN_WRITABLE */
    uint32_t
        unframed : 1;     /* what is written to it are no WebSocket frames but server-sent events */
    uint32_t opened : 29; /* in seconds on clock_ns's clock, cut to CONN_OPENED */
    struct tls *tls;      /* NULL: in the clear */
};

/* How many bytes more than it may read a reader's buffer must have room for: TLS gives what is half
 * there as well, so that nothing is left inside that no poll would tell of. */
enum { CONN_READ_MORE = 16384 };

#define CONN_OPENED (UINT32_MAX >> 3)

enum { CONN_AGAIN = -1, CONN_BROKEN = -2 };

/* Takes over a connected, non-blocking socket, and watches for what can be read. False, with errno,
 * when the kernel has no room for it: it stays the caller's. */
bool conn_open(struct conn *c, struct poller *poller, int fd);

/* Chooses what it is watched for. With neither, its end is not noticed before it is watched again.
 */
void conn_watch(struct conn *c, struct poller *poller, bool readable, bool writable);

/* Reads up to `len` bytes from the socket, once. Bytes of the peer's, 0 at the end, CONN_AGAIN or
 * CONN_BROKEN. Through TLS up to CONN_READ_MORE more than `len` may come, or none (CONN_AGAIN)
 * though the socket had some; less than `len` does not tell that the socket has no more, but the
 * poll does. */
ssize_t conn_read(struct conn *c, void *bytes, size_t len);

/* Bytes written, which may be fewer (the socket takes no more for now), CONN_AGAIN or CONN_BROKEN.
 *
 * Through TLS the last record counts as written even if the socket took but a part of it: then
 * conn_pending. Such a connection has to be watched for writing and conn_flush called when it is
 * writable, though its owner has nothing left to send; conn_write does it as well, before anything
 * else. */
ssize_t conn_write(struct conn *c, const struct iovec *pieces, int count);

/* Sends what conn_write and conn_finish could not: 0 when nothing is left, CONN_AGAIN or
 * CONN_BROKEN. */
ssize_t conn_flush(struct conn *c);

bool conn_owes(const struct conn *c);

/* Whether there is something left for conn_flush: at most a record of 16 KiB. */
static inline bool conn_pending(const struct conn *c)
{
    return c->tls && conn_owes(c);
}

/* What an errno of a send means: CONN_AGAIN or CONN_BROKEN. */
ssize_t conn_write_failed(int code);

/* Bytes that the kernel was given since that was last asked, when it took `bytes` of ours: through
 * TLS they are others. */
uint32_t conn_take_sent(struct conn *c, size_t bytes);

/* Bytes that the peer's side has not acknowledged yet, as the kernel counts them (TLS: encrypted).
 */
size_t conn_unacknowledged(struct conn *c);

/* How many bytes it has acknowledged so far, modulo 2^32; false where the kernel does not tell. */
bool conn_acknowledged(struct conn *c, uint32_t *bytes);

/* Sends the end of the stream; reading goes on. Through TLS that is a record, too: conn_pending
 * when the socket does not take it now. */
void conn_finish(struct conn *c);

/* `reset`: what the kernel has not sent yet is thrown away. Else a peer that speaks
 * TLS is told of the end, if it was not yet and the socket has room for it. */
void conn_close(struct conn *c, struct poller *poller, bool reset);

#endif
