/* The sends of many connections by one system call, on Linux's io_uring.
 *
 * Order: ring_add for each of a round, and nothing else meanwhile; ring_submit; then the results
 *   in ring->sends. What happens to one connection on account of its result cannot touch another's
 *   send.
 * Memory: the kernel reads the bytes within ring_submit and at no other time. When that returns no
 *   send is under way: bytes may be changed, sockets closed, the ring freed.
 * Threads: one at a time. */
#ifndef HERMES_NET_RING_H
#define HERMES_NET_RING_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "net/conn.h"

/* RING_LEAST: a submission of two costs what two sends do. */
enum { RING_SENDS = 512, RING_LEAST = 4 };

/* A result besides those of conn_write: nothing has been sent and nothing is known of the socket.
 */
enum { RING_UNTRIED = -3 };

struct ring_send {
    void *user;
    struct iovec piece;
    ssize_t wrote; /* as conn_write says it */
};

struct ring {
    unsigned count; /* of the round; at most RING_SENDS */
    struct ring_send sends[RING_SENDS];
};

/* NULL, and in `*reason` why, where Hermes was built without, or the kernel has not what is needed,
 * or refuses it (a container's seccomp profile, a limit on locked memory). */
struct ring *ring_new(const char **reason);
void ring_free(struct ring *ring);

/* Adds to the round: `piece` is to be sent, or with a length of 0 nothing (RING_UNTRIED). */
void ring_add(struct ring *ring, const struct conn *conn, struct iovec piece, void *user);

/* Sends the round. All results are good in either case; when false, the ring must be freed. */
bool ring_submit(struct ring *ring);

/* Begins the next round. */
static inline void ring_clear(struct ring *ring)
{
    ring->count = 0;
}

#endif
