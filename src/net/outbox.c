#include "net/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"

enum { PIECES_MAX = 64, SPARE_SPANS = 64 };

struct outbox_more {
    struct list held;    /* in a chunk's holders */
    struct list stalled; /* in the log's list of blocked outboxes */
    struct outbox *owner;
    struct buf private; /* to be sent before the spans */
    size_t private_sent;
    struct span *spans; /* behind `first`: a row of `count` that begins at `at` */
    uint32_t at;
    uint32_t count;
    uint32_t cap;
    uint32_t frame_left; /* unsent bytes of a frame that is partly sent */
};

static size_t weight(const struct outbox_more *more)
{
    return sizeof *more + more->private.cap + more->cap * sizeof *more->spans;
}

static struct outbox_more *more_take(struct byte_log *log, struct outbox *box)
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
    box->more = more;
    log->charged += weight(more);
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
    log->charged -= weight(more);
    list_remove(&more->held);
    list_remove(&more->stalled);
    if (more->cap <= SPARE_SPANS && log->spare_outbox_count < LOG_SPARE_OUTBOXES) {
        buf_fini(&more->private);
        more->private_sent = 0;
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
    struct outbox_more *more = more_take(log, box);
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

/* The first unsent bytes in order, in up to PIECES_MAX pieces. */
static int gather(const struct byte_log *log, const struct outbox *box, struct iovec *pieces)
{
    const struct outbox_more *more = box->more;
    int count = 0;
    if (more && more->private_sent < more->private.len)
        pieces[count++] = (struct iovec){
            more->private.data + more->private_sent, more->private.len - more->private_sent};
    count = span_pieces(log, box->first, pieces, count);
    for (uint32_t i = 0; more && i < more->count && count < PIECES_MAX; i++)
        count = span_pieces(log, more->spans[more->at + i], pieces, count);
    return count;
}

/* Takes `bytes` off the front. */
static void advance(struct outbox *box, size_t bytes)
{
    struct outbox_more *more = box->more;
    if (more) {
        size_t private = more->private.len - more->private_sent;
        size_t part = bytes < private ? bytes : private;
        more->private_sent += part;
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

/* Of a stream of frames that began `frame_left` bytes before a frame's start: how much is left of
 * the frame in which the first `sent` bytes end. The header of that frame must be in the pieces. */
static uint64_t frame_left_after(const struct iovec *pieces, size_t sent, uint64_t frame_left)
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
    struct outbox_more *more = more_take(log, box);
    if (!more)
        return false;
    list_remove(&more->held);
    list_remove(&more->stalled);
    list_append(&log->stalled, &more->stalled);
    if (box->first.start != box->first.end)
        list_append(&log_chunk_at(log, box->first.start)->holders, &more->held);
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

/* Books what a write did. FLUSH_ON when there is more to write, else how the flush has ended. */
static int written(struct byte_log *log, struct outbox *box, struct write *w, ssize_t wrote,
    struct outbox_sent *sent)
{
    sent->writes++;
    if (wrote == CONN_BROKEN)
        return OUTBOX_BROKEN;
    size_t bytes = wrote == CONN_AGAIN ? 0 : (size_t)wrote;
    sent->bytes += bytes;
    w->progress |= bytes > 0;
    if (bytes == w->len && w->all && !box->more) {
        box->first.start = box->first.end;
        return OUTBOX_DONE;
    }
    uint64_t left = frame_left_after(w->pieces, bytes, box->more ? box->more->frame_left : 0);
    advance(box, bytes);
    if (bytes < w->len && !w->progress && box->more && !list_empty(&box->more->stalled))
        return OUTBOX_BLOCKED; /* no progress: it keeps its place among the stalled */
    if (bytes < w->len ? !block(log, box) : left > 0 && !more_take(log, box))
        return OUTBOX_BROKEN;
    if (box->more)
        box->more->frame_left = (uint32_t)left;
    return bytes < w->len ? OUTBOX_BLOCKED : FLUSH_ON;
}

enum outbox_state outbox_flush(
    struct byte_log *log, struct outbox *box, struct conn *conn, struct outbox_sent *sent)
{
    struct iovec pieces[PIECES_MAX];
    struct write w = {.pieces = pieces};
    int state;
    do {
        int count = gather(log, box, pieces);
        if (count == 0) {
            more_release(log, box);
            return OUTBOX_DONE;
        }
        /* The last of a full row is not sent now, so that no frame's header is cut off from it. */
        w.all = count < PIECES_MAX;
        if (!w.all)
            count--;
        w.len = 0;
        for (int i = 0; i < count; i++)
            w.len += pieces[i].iov_len;
        state = written(log, box, &w, conn_write(conn, pieces, count), sent);
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
    int state = written(log, box, &w, wrote, sent);
    return state == FLUSH_ON ? outbox_flush(log, box, conn, sent) : (enum outbox_state)state;
}

bool outbox_cut(struct byte_log *log, struct outbox *box, struct text last)
{
    struct buf rest = {0};
    struct iovec pieces[PIECES_MAX];
    size_t left = box->more ? box->more->frame_left : 0;
    while (left > 0) {
        int count = gather(log, box, pieces);
        size_t taken = 0;
        for (int i = 0; i < count && left > 0; i++) {
            size_t part = pieces[i].iov_len < left ? pieces[i].iov_len : left;
            buf_append(&rest, pieces[i].iov_base, part);
            left -= part;
            taken += part;
        }
        MUST(taken > 0);
        advance(box, taken);
    }
    buf_append_text(&rest, last);
    uint32_t frame_left = box->more ? box->more->frame_left : 0;
    bool blocked = box->more && !list_empty(&box->more->stalled);
    outbox_clear(log, box);
    if (rest.failed || !more_take(log, box)) {
        buf_fini(&rest);
        return false;
    }
    box->more->private = rest;
    box->more->frame_left = frame_left;
    log->charged += rest.cap;
    if (blocked)
        list_append(&log->stalled, &box->more->stalled);
    return true;
}

bool outbox_copy_out(struct byte_log *log, struct outbox *box, size_t limit)
{
    struct outbox_more *more = box->more;
    uint64_t chunk_end = log->base + LOG_CHUNK;
    size_t wanted = more->private.len - more->private_sent;
    uint64_t span_end = box->first.end < chunk_end ? box->first.end : chunk_end;
    wanted += (size_t)(span_end - box->first.start);
    for (uint32_t i = 0; i < more->count && more->spans[more->at + i].start < chunk_end; i++) {
        struct span span = more->spans[more->at + i];
        wanted += (size_t)((span.end < chunk_end ? span.end : chunk_end) - span.start);
        if (wanted > limit)
            return false;
    }
    if (wanted > limit)
        return false;
    size_t before = weight(more);
    if (more->private_sent > 0) {
        more->private.len -= more->private_sent;
        memmove(more->private.data, more->private.data + more->private_sent, more->private.len);
        more->private_sent = 0;
    }
    if (!buf_reserve(&more->private, wanted - more->private.len)) {
        more->private.failed = false;
        return false;
    }
    while (box->first.start < box->first.end && box->first.start < chunk_end) {
        uint64_t end = box->first.end < chunk_end ? box->first.end : chunk_end;
        struct iovec piece = log_piece(log, box->first.start, end);
        buf_append(&more->private, piece.iov_base, piece.iov_len);
        box->first.start += piece.iov_len;
        if (box->first.start == box->first.end && more->count > 0) {
            box->first = more->spans[more->at++];
            if (--more->count == 0)
                more->at = 0;
        }
    }
    log->charged += weight(more) - before;
    list_remove(&more->held);
    if (box->first.start != box->first.end)
        list_append(&log_chunk_at(log, box->first.start)->holders, &more->held);
    return true;
}

struct outbox *outbox_oldest(struct byte_log *log, bool *holds_chunk)
{
    if (list_empty(&log->stalled))
        return NULL;
    struct list *holders = log->count ? &log->chunks[log->head]->holders : NULL;
    *holds_chunk = holders && !list_empty(holders);
    if (*holds_chunk)
        return LIST_ITEM(holders->next, struct outbox_more, held)->owner;
    return LIST_ITEM(log->stalled.next, struct outbox_more, stalled)->owner;
}
