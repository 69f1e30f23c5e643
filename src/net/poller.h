/* All sockets of a worker, watched through one handle of its loop.
 *
 * They are in an epoll set of their own, and the loop watches the set. A uv_poll_t for each would
 * cost 160 bytes more a connection and three more system calls, and with many at once ready the
 * loop walks over them as it does here. The price is one more system call a round.
 *
 * Order: poller_open, connections, poller_close when all of them are closed.
 *
 * Threads: the loop's. */
#ifndef HERMES_NET_POLLER_H
#define HERMES_NET_POLLER_H

#include <uv.h>

struct conn;

/* POLLER_HEAVY: of what costs far more than to read from a client, such as its handshake or its
 * end, so many go into one round. Who is left over is told of again in the next, behind the others.
 */
enum { POLLER_HEAVY = 128 };

enum {
    CONN_READABLE = 1, /* or the end of the stream is there to be read */
    CONN_WRITABLE = 2,
    CONN_FAULT = 4, /* an error is pending; what came before it can still be read */
};

struct poller {
    uv_poll_t handle;
    int fd;
    unsigned heavy; /* what of this round was: raised by `ready` */
    /* Within a round it may be called for a connection that was closed earlier in the same round:
     * the memory of one that is closed must stay until the round is over. */
    void (*ready)(struct conn *c, int events);
};

/* A libuv error code or 0. */
int poller_open(struct poller *p, uv_loop_t *loop, void (*ready)(struct conn *c, int events));
void poller_close(struct poller *p);

#endif
