#include "net/ring.h"

#include <stddef.h>

#ifdef HERMES_LIBURING

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/die.h"

struct whole_ring {
    struct ring face;
    struct io_uring uring;
    unsigned queued; /* of the round: those that the kernel is to be asked for */
};

static struct whole_ring *whole(struct ring *ring)
{
    return (struct whole_ring *)(void *)((char *)ring - offsetof(struct whole_ring, face));
}

/* NULL when the kernel has all that is needed. */
static const char *lacking(struct io_uring *uring)
{
    /* Linux 5.12: rings are not charged against the limit on locked memory any more. A send with
     * MSG_DONTWAIT that cannot go on fails at once, on that and all later ones. */
    if (!(uring->features & IORING_FEAT_NATIVE_WORKERS))
        return "the kernel is older than 5.12";
    struct io_uring_probe *probe = io_uring_get_probe_ring(uring);
    bool sends = probe && io_uring_opcode_supported(probe, IORING_OP_SEND);
    io_uring_free_probe(probe);
    return sends ? NULL : "the kernel's io_uring does not send";
}

struct ring *ring_new(const char **reason)
{
    struct whole_ring *w = calloc(1, sizeof *w);
    if (!w) {
        *reason = "no memory";
        return NULL;
    }
    int code = io_uring_queue_init(RING_SENDS, &w->uring, 0);
    *reason = code == 0 ? lacking(&w->uring) : uv_strerror(code);
    if (!*reason)
        return &w->face;
    if (code == 0)
        io_uring_queue_exit(&w->uring);
    free(w);
    return NULL;
}

void ring_free(struct ring *ring)
{
    if (!ring)
        return;
    io_uring_queue_exit(&whole(ring)->uring);
    free(whole(ring));
}

void ring_add(struct ring *ring, const struct conn *conn, struct iovec piece, void *user)
{
    struct whole_ring *w = whole(ring);
    MUST_DEBUG(ring->count < RING_SENDS);
    ring->sends[ring->count] = (struct ring_send){user, piece, RING_UNTRIED};
    if (piece.iov_len > 0) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&w->uring);
        MUST(sqe); /* as many as there are sends, and none is left over from before */
        /* Not to wait: else the kernel would arm a poll and send later, from bytes that may be
         * gone. */
        io_uring_prep_send(
            sqe, conn->fd, piece.iov_base, piece.iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        sqe->user_data = ring->count;
        w->queued++;
    }
    ring->count++;
}

/* Hands all that is queued to the kernel, which sends as it takes it; returns how much it took. */
static unsigned hand_over(struct whole_ring *w)
{
    unsigned taken = 0;
    while (taken < w->queued) {
        int code = io_uring_submit(&w->uring);
        if (code > 0)
            taken += (unsigned)code;
        else if (code != -EINTR)
            break;
    }
    return taken;
}

/* Takes the results; returns how many there were. */
static unsigned reap(struct whole_ring *w)
{
    struct io_uring_cqe *cqe;
    unsigned head;
    unsigned count = 0;
    io_uring_for_each_cqe(&w->uring, head, cqe)
    {
        w->face.sends[cqe->user_data].wrote = cqe->res == -EINTR ? RING_UNTRIED
                                              : cqe->res < 0     ? conn_write_failed(-cqe->res)
                                                                 : cqe->res;
        count++;
    }
    io_uring_cq_advance(&w->uring, count);
    return count;
}

bool ring_submit(struct ring *ring)
{
    struct whole_ring *w = whole(ring);
    unsigned taken = hand_over(w);
    unsigned reaped = reap(w);
    /* As a rule all results are there by now. */
    while (reaped < taken) {
        struct io_uring_cqe *cqe;
        int code = io_uring_wait_cqe(&w->uring, &cqe);
        if (code == 0)
            reaped += reap(w);
        else if (code != -EINTR)
            die("io_uring keeps %u results to itself: %s", taken - reaped, uv_strerror(code));
    }
    bool good = taken == w->queued;
    w->queued = 0;
    return good;
}

#else

struct ring *ring_new(const char **reason)
{
    *reason = "built without liburing";
    return NULL;
}

void ring_free(struct ring *ring)
{
    (void)ring;
}

void ring_add(struct ring *ring, const struct conn *conn, struct iovec piece, void *user)
{
    (void)ring;
    (void)conn;
    (void)piece;
    (void)user;
}

bool ring_submit(struct ring *ring)
{
    (void)ring;
    return false;
}

#endif
