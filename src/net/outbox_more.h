/* What outbox.c and outbox_blocked.c share, and nobody else sees. */
#ifndef HERMES_NET_OUTBOX_MORE_H
#define HERMES_NET_OUTBOX_MORE_H

#include "net/outbox.h"

enum { PIECES_MAX = 64, SPANS_KEPT = 64 /* memory for so many is not given back */ };

struct outbox_more {
    struct list held;    /* in a chunk's holders */
    struct list stalled; /* in the log's list of blocked outboxes */
    struct outbox *owner;
    struct buf private; /* to be sent before the spans */
    size_t private_sent;
    size_t excused;     /* of the private bytes: see outbox_excuse */
    uint64_t fence;     /* spans from there on are not sent */
    struct span *spans; /* behind `first`: a row of `count` that begins at `at` */
    uint32_t at;
    uint32_t count;
    uint32_t cap;
    uint32_t frame_left; /* unsent bytes of a frame that is partly sent */
};

static inline size_t outbox_weight(const struct outbox_more *more)
{
    return sizeof *more + more->private.cap + more->cap * sizeof *more->spans;
}

/* The outbox's, made if need be; NULL when there is no memory. */
struct outbox_more *outbox_more_take(struct byte_log *log, struct outbox *box);

/* The first unsent bytes in order up to the fence, in up to PIECES_MAX pieces. */
int outbox_gather(const struct byte_log *log, const struct outbox *box, struct iovec *pieces);

/* Takes `bytes` off the front. */
void outbox_advance(struct outbox *box, size_t bytes);

/* Of a stream of frames that began `frame_left` bytes before a frame's start: how much is left of
 * the frame in which the first `sent` bytes end. The header of that frame must be in the pieces. */
uint64_t outbox_frame_left_after(const struct iovec *pieces, size_t sent, uint64_t frame_left);

/* Makes a blocked outbox the holder of the chunk in which its spans begin now. */
static inline void outbox_hold(struct byte_log *log, struct outbox *box)
{
    list_remove(&box->more->held);
    if (box->first.start != box->first.end)
        list_append(&log_chunk_at(log, box->first.start)->holders, &box->more->held);
}

#endif
