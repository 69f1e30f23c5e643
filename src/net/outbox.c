#include "net/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "net/outbox_more.h"

struct outbox_more *outbox_more_take(struct byte_log *log, struct outbox *box)
{
    if (box->more)
        return box->more;
    struct outbox_more *more = log->spare_outbox_count > 0
                                   ? log->spare_outboxes[--log->spare_outbox_count]
                                   : calloc(1, sizeof *more);
    if (!more)
        return NULL;
    list_init(&more->held);
    list_init(&more->stalled);
    more->owner = box;
    more->fence = OUTBOX_NO_FENCE;
    box->more = more;
    log->charged += outbox_weight(more);
    return more;
}

static void more_free(struct outbox_more *more)
{
    buf_fini(&more->private);
    free(more->spans);
    free(more);
}

static void more_release(struct byte_log *log, struct outbox *box)
{
    struct outbox_more *more = box->more;
    if (!more)
        return;
    box->more = NULL;
    log->charged -= outbox_weight(more);
    list_remove(&more->held);
    list_remove(&more->stalled);
    if (more->cap <= SPANS_KEPT && log->spare_outbox_count < LOG_SPARE_OUTBOXES) {
        buf_fini(&more->private);
        more->private_sent = more->excused = 0;
        more->at = more->count = more->frame_left = 0;
        log->spare_outboxes[log->spare_outbox_count++] = more;
    } else {
        more_free(more);
    }
}

void outbox_spares_free(struct byte_log *log)
{
    while (log->spare_outbox_count > 0)
        more_free(log->spare_outboxes[--log->spare_outbox_count]);
}

static bool spans_reserve(struct byte_log *log, struct outbox_more *more)
{
    if (more->at + more->count < more->cap)
        return true;
    if (more->at > more->cap / 2) {
        memmove(more->spans, more->spans + more->at, more->count * sizeof *more->spans);
        more->at = 0;
        return true;
    }
    MUST(more->cap <= UINT32_MAX / 4);
    uint32_t cap = more->cap ? more->cap * 2 : 8;
    struct span *spans = realloc(more->spans, cap * sizeof *spans);
    if (!spans)
        return false;
    log->charged += (cap - more->cap) * sizeof *spans;
    more->spans = spans;
    more->cap = cap;
    return true;
}

bool outbox_add_slowly(struct byte_log *log, struct outbox *box, uint64_t start, uint64_t end)
{
    struct outbox_more *more = outbox_more_take(log, box);
    if (!more)
        return false;
    struct span *last = more->count ? &more->spans[more->at + more->count - 1] : &box->first;
    if (last->end == start && last->start != last->end) {
        last->end = end;
        return true;
    }
    if (last->start == last->end) {
        *last = (struct span){start, end};
        /* A blocked outbox that held private bytes only becomes a holder of the log again. */
        if (!list_empty(&more->stalled) && list_empty(&more->held))
            list_append(&log_chunk_at(log, start)->holders, &more->held);
        return true;
    }
    if (!spans_reserve(log, more))
        return false;
    more->spans[more->at + more->count++] = (struct span){start, end};
    return true;
}

uint64_t outbox_unsent(const struct outbox *box)
{
    uint64_t unsent = box->first.end - box->first.start;
    const struct outbox_more *more = box->more;
    if (!more)
        return unsent;
    unsent += more->private.len - more->private_sent;
    for (uint32_t i = 0; i < more->count; i++)
        unsent += more->spans[more->at + i].end - more->spans[more->at + i].start;
    return unsent;
}

uint32_t outbox_frame_left(const struct outbox *box)
{
    return box->more ? box->more->frame_left : 0;
}

void outbox_clear(struct byte_log *log, struct outbox *box)
{
    more_release(log, box);
    box->first = (struct span){0, 0};
}

/* Pieces of [from, to); returns how many there are now. */
static int span_pieces(
    const struct byte_log *log, struct span span, struct iovec *pieces, int count)
{
    while (span.start < span.end && count < PIECES_MAX) {
        pieces[count] = log_piece(log, span.start, span.end);
        span.start += pieces[count++].iov_len;
    }
    return count;
}

int outbox_gather(const struct byte_log *log, const struct outbox *box, struct iovec *pieces)
{
    const struct outbox_more *more = box->more;
    int count = 0;
    if (!more)
        return span_pieces(log, box->first, pieces, count);
    if (more->private_sent < more->private.len)
        pieces[count++] = (struct iovec){
            more->private.data + more->private_sent, more->private.len - more->private_sent};
    if (box->first.start >= more->fence)
        return count;
    count = span_pieces(log, box->first, pieces, count);
    for (uint32_t i = 0; i < more->count && count < PIECES_MAX; i++) {
        if (more->spans[more->at + i].start >= more->fence)
            break;
        count = span_pieces(log, more->spans[more->at + i], pieces, count);
    }
    return count;
}

void outbox_advance(struct outbox *box, size_t bytes)
{
    struct outbox_more *more = box->more;
    if (more) {
        size_t private = more->private.len - more->private_sent;
        size_t part = bytes < private ? bytes : private;
        more->private_sent += part;
        if (more->private_sent == more->private.len)
            more->private.len = more->private_sent = more->excused = 0;
        bytes -= part;
    }
    for (;;) {
        size_t len = (size_t)(box->first.end - box->first.start);
        size_t part = bytes < len ? bytes : len;
        box->first.start += part;
        bytes -= part;
        if (part < len || !more || more->count == 0)
            break;
        box->first = more->spans[more->at++];
        if (--more->count == 0)
            more->at = 0;
    }
    MUST_DEBUG(bytes == 0);
}

/* A byte of the pieces, by its place from their start. */
static uint8_t byte_at(const struct iovec *pieces, size_t place)
{
    while (place >= pieces->iov_len)
        place -= pieces++->iov_len;
    return ((const uint8_t *)pieces->iov_base)[place];
}

uint64_t outbox_frame_left_after(const struct iovec *pieces, size_t sent, uint64_t frame_left)
{
    uint64_t at = frame_left;
    while (at < sent) {
        uint64_t len = byte_at(pieces, (size_t)at + 1) & 0x7f;
        size_t more = len == 126 ? 2 : len == 127 ? 8 : 0;
        if (more) {
            len = 0;
            for (size_t i = 0; i < more; i++)
                len = len << 8 | byte_at(pieces, (size_t)at + 2 + i);
        }
        at += 2 + more + len;
    }
    return at - sent;
}

static bool block(struct byte_log *log, struct outbox *box)
{
    struct outbox_more *more = outbox_more_take(log, box);
    if (!more)
        return false;
    list_remove(&more->stalled);
    list_append(&log->stalled, &more->stalled);
    outbox_hold(log, box);
    return true;
}

/* One write of a flush. */
struct write {
    struct iovec *pieces;
    size_t len;
    bool all;      /* nothing was left to be written behind it */
    bool progress; /* of the whole flush so far */
};

enum { FLUSH_ON = -1 };

/* What nearly all of them are: the first span, and all of it went. */
static inline bool went(
    struct outbox *box, const struct write *w, ssize_t wrote, struct outbox_sent *sent)
{
    if (wrote != (ssize_t)w->len || !w->all || box->more)
        return false;
    sent->writes++;
    sent->bytes += w->len;
    box->first.start = box->first.end;
    return true;
}

/* Books what a write did. FLUSH_ON when there is more to write, else how the flush has ended. */
static int written(struct byte_log *log, struct outbox *box, const struct conn *conn,
    struct write *w, ssize_t wrote, struct outbox_sent *sent)
{
    sent->writes++;
    if (wrote == CONN_BROKEN)
        return OUTBOX_BROKEN;
    size_t bytes = wrote == CONN_AGAIN ? 0 : (size_t)wrote;
    sent->bytes += bytes;
    w->progress |= bytes > 0;
    uint64_t left = conn->unframed ? 0
                                   : outbox_frame_left_after(
                                         w->pieces, bytes, box->more ? box->more->frame_left : 0);
    outbox_advance(box, bytes);
    if (bytes < w->len && !w->progress && box->more && !list_empty(&box->more->stalled))
        return OUTBOX_BLOCKED; /* no progress: it keeps its place among the stalled */
    if (bytes < w->len ? !block(log, box) : left > 0 && !outbox_more_take(log, box))
        return OUTBOX_BROKEN;
    if (box->more)
        box->more->frame_left = (uint32_t)left;
    return bytes < w->len ? OUTBOX_BLOCKED : FLUSH_ON;
}

/* Nothing is left in here; but a connection through TLS may owe the rest of a record, and its
 * outbox is a blocked one then. */
static enum outbox_state done(struct byte_log *log, struct outbox *box, struct conn *conn)
{
    if (conn_pending(conn)) {
        ssize_t state = conn_flush(conn);
        if (state == CONN_AGAIN && block(log, box))
            return OUTBOX_BLOCKED;
        if (state != 0)
            return OUTBOX_BROKEN;
    }
    more_release(log, box);
    return OUTBOX_DONE;
}

enum outbox_state outbox_flush(
    struct byte_log *log, struct outbox *box, struct conn *conn, struct outbox_sent *sent)
{
    struct iovec pieces[PIECES_MAX];
    struct write w = {.pieces = pieces};
    int state;
    do {
        int count = outbox_gather(log, box, pieces);
        if (count == 0 && box->more && box->more->fence != OUTBOX_NO_FENCE) {
            block(log, box); /* cannot fail: there is more of it already */
            return OUTBOX_FENCED;
        }
        if (count == 0)
            return done(log, box, conn);
        /* The last of a full row is not sent now, so that no frame's header is cut off from it. */
        w.all = count < PIECES_MAX;
        if (!w.all)
            count--;
        w.len = 0;
        for (int i = 0; i < count; i++)
            w.len += pieces[i].iov_len;
        ssize_t wrote = conn_write(conn, pieces, count);
        if (went(box, &w, wrote, sent))
            return done(log, box, conn);
        state = written(log, box, conn, &w, wrote, sent);
    } while (state == FLUSH_ON);
    return (enum outbox_state)state;
}

struct iovec outbox_piece(const struct byte_log *log, const struct outbox *box)
{
    if (box->more || box->first.start == box->first.end)
        return (struct iovec){NULL, 0};
    struct iovec piece = log_piece(log, box->first.start, box->first.end);
    if (piece.iov_len < box->first.end - box->first.start)
        piece.iov_len = 0;
    return piece;
}

enum outbox_state outbox_flush_after(struct byte_log *log, struct outbox *box, struct conn *conn,
    struct iovec piece, ssize_t wrote, struct outbox_sent *sent)
{
    bool all = !box->more && box->first.end - box->first.start == piece.iov_len;
    struct write w = {.pieces = &piece, .len = piece.iov_len, .all = all};
    if (went(box, &w, wrote, sent))
        return done(log, box, conn);
    int state = written(log, box, conn, &w, wrote, sent);
    return state == FLUSH_ON ? outbox_flush(log, box, conn, sent) : (enum outbox_state)state;
}
