/* What one session still has to send: spans of its worker's log, no bytes of its own.
 *
 * Order: private bytes (copied out of a chunk that was to be reclaimed), then the first span, then
 *   the others. Neighbouring spans merge, so whoever gets everything holds one.
 * Memory: 24 bytes at rest. What is more than one span, and all that a blocked session needs, is in
 *   an outbox_more, whose size counts as the log's.
 * Threads: the worker's. */
#ifndef HERMES_NET_OUTBOX_H
#define HERMES_NET_OUTBOX_H

#include "base/buf.h"
#include "net/byte_log.h"
#include "net/conn.h"

struct span {
    uint64_t start;
    uint64_t end; /* equal to start: nothing */
};

struct outbox_more;

struct outbox {
    struct span first;
    struct outbox_more *more; /* NULL: nothing but `first` */
};

enum outbox_state {
    OUTBOX_DONE,    /* all is sent */
    OUTBOX_BLOCKED, /* the socket takes no more: now a holder, flush again when it is writable */
    OUTBOX_BROKEN,  /* the connection is gone */
};

/* What a flush did, for the counters. */
struct outbox_sent {
    size_t bytes;
    unsigned writes;
};

bool outbox_add_slowly(struct byte_log *log, struct outbox *box, uint64_t start, uint64_t end);

/* Adds [start, end) of the log, which lies behind all spans so far. False when there is no memory
 * to remember it. */
static inline bool outbox_add(
    struct byte_log *log, struct outbox *box, uint64_t start, uint64_t end)
{
    if (!box->more) {
        if (box->first.end == start && box->first.start != box->first.end) {
            box->first.end = end;
            return true;
        }
        if (box->first.start == box->first.end) {
            box->first = (struct span){start, end};
            return true;
        }
    }
    return outbox_add_slowly(log, box, start, end);
}

static inline bool outbox_empty(const struct outbox *box)
{
    return !box->more && box->first.start == box->first.end;
}

/* Sends what it can. */
enum outbox_state outbox_flush(
    struct byte_log *log, struct outbox *box, struct conn *conn, struct outbox_sent *sent);

/* For those who make the first write of a flush themselves: what to write, or nothing (a length of
 * 0) where that takes more than one piece. */
struct iovec outbox_piece(const struct byte_log *log, const struct outbox *box);

/* The flush whose first write was that of `piece`, as outbox_piece gave it, and said `wrote`. More
 * may have been added since, and nothing else may have happened. */
enum outbox_state outbox_flush_after(struct byte_log *log, struct outbox *box, struct conn *conn,
    struct iovec piece, ssize_t wrote, struct outbox_sent *sent);

/* Bytes not sent yet. */
uint64_t outbox_unsent(const struct outbox *box);

/* Bytes not sent yet of a frame that is partly sent. */
uint32_t outbox_frame_left(const struct outbox *box);

/* Forgets everything. */
void outbox_clear(struct byte_log *log, struct outbox *box);

/* Forgets everything but the rest of a frame that is partly sent, and puts `last` (whole frames)
 * behind it. False (all forgotten) when there is no memory. */
bool outbox_cut(struct byte_log *log, struct outbox *box, struct text last);

/* Makes a blocked outbox let go of the log's first chunk by copying its bytes out, if they are no
 * more than `limit` together with those copied before. False when they are, or with no memory. */
bool outbox_copy_out(struct byte_log *log, struct outbox *box, size_t limit);

/* The outbox that holds the log's first chunk, or (with no chunk held) the one that has been
 * blocked longest; NULL when none is blocked. */
struct outbox *outbox_oldest(struct byte_log *log, bool *holds_chunk);

/* Frees what the log keeps for reuse by outboxes. */
void outbox_spares_free(struct byte_log *log);

#endif
