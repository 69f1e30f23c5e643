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
    OUTBOX_DONE,    /* all is sent, by the connection, too */
    OUTBOX_BLOCKED, /* the socket takes no more: now a holder, flush again when it is writable */
    OUTBOX_BROKEN,  /* the connection is gone */
    OUTBOX_FENCED,  /* all before the fence is sent */
};

#define OUTBOX_NO_FENCE UINT64_MAX

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

/* The outbox that holds the log's first chunk, or (with no chunk held) the one that has been
 * blocked longest; NULL when none is blocked. */
struct outbox *outbox_oldest(struct byte_log *log, bool *holds_chunk);

/* Frees what the log keeps for reuse by outboxes. */
void outbox_spares_free(struct byte_log *log);

/* --- outbox_blocked.c: of a blocked outbox, unless something else is said -----------------------
 */

/* How many spans there are, and the i-th of them, in the order of their positions. Any outbox. */
size_t outbox_spans(const struct outbox *box);
struct span outbox_span(const struct outbox *box, size_t i);

/* Whether the byte at that position of the log is in a span. Any outbox. */
bool outbox_holds(const struct outbox *box, uint64_t position);

/* With how many bytes the spans go on with a frame that began before them: it is partly sent, or
 * partly copied out. */
uint64_t outbox_begun(const struct byte_log *log, const struct outbox *box);

/* Of an unframed connection, where nothing tells where an event ends but the empty line behind it:
 * what is unsent up to the first of those is what is left of a frame that is partly sent. */
void outbox_find_event(const struct byte_log *log, struct outbox *box);

/* Where the payload of the frame lies that begins at that position of the log. */
struct span outbox_frame(const struct byte_log *log, uint64_t position);

/* Bytes of the spans before `until`; when that comes to more than `most`, only that it does. */
size_t outbox_before(const struct outbox *box, uint64_t until, size_t most);

/* Bytes copied out or told. Any outbox. */
size_t outbox_private(const struct outbox *box);

/* Whether what it holds of the log's first chunk is no more than `limit`, together with what was
 * copied before, but for what is excused. */
bool outbox_few(const struct byte_log *log, const struct outbox *box, size_t limit);

/* Copies the bytes before that position out of the log; false, and nothing changed, when there is
 * no memory. */
bool outbox_move_out(struct byte_log *log, struct outbox *box, uint64_t until);

/* Puts a whole frame in front of the spans, which begin with a frame of their own. False, and
 * nothing changed, when there is no memory. */
bool outbox_tell(struct byte_log *log, struct outbox *box, struct text frame);

/* So many of the private bytes do not count as copied, until all of them are sent. */
void outbox_excuse(struct outbox *box, size_t bytes);

/* Spans from that position on are not sent until the fence is moved; none begins before it and ends
 * behind it. Until then a flush ends with OUTBOX_FENCED instead of OUTBOX_DONE. */
void outbox_fence(struct outbox *box, uint64_t position);

/* Forgets these ranges, which are whole frames that nothing of is sent or copied out, each within
 * one span, in order. What lies behind the last of them costs nothing, or little in the long run.
 * False, and nothing changed, when there is no memory. */
bool outbox_forget(
    struct byte_log *log, struct outbox *box, const struct span *ranges, size_t count);

#endif
