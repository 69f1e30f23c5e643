/* What a blocked outbox can be made to let go of. */
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "net/outbox_more.h"

/* --- looking at it ---------------------------------------------------------------------------- */

size_t outbox_spans(const struct outbox *box)
{
    if (box->first.start == box->first.end)
        return 0;
    return 1 + (box->more ? box->more->count : 0);
}

struct span outbox_span(const struct outbox *box, size_t i)
{
    return i == 0 ? box->first : box->more->spans[box->more->at + i - 1];
}

/* How many spans begin before that position. */
static size_t spans_before(const struct outbox *box, uint64_t position)
{
    size_t low = 0;
    size_t high = outbox_spans(box);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (outbox_span(box, middle).start < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool outbox_holds(const struct outbox *box, uint64_t position)
{
    size_t before = spans_before(box, position + 1);
    return before > 0 && position < outbox_span(box, before - 1).end;
}

uint64_t outbox_begun(const struct byte_log *log, const struct outbox *box)
{
    const struct outbox_more *more = box->more;
    if (!more)
        return 0;
    struct iovec pieces[PIECES_MAX];
    size_t private = more->private.len - more->private_sent;
    if (private == 0)
        return more->frame_left;
    /* Its last header may go on in the spans. */
    outbox_gather(log, box, pieces);
    return outbox_frame_left_after(pieces, private, more->frame_left);
}

struct span outbox_frame(const struct byte_log *log, uint64_t position)
{
    uint8_t head[10];
    size_t have = log->end - position < sizeof head ? (size_t)(log->end - position) : sizeof head;
    log_read(log, position, head, have);
    struct iovec whole = {head, have};
    uint8_t len = head[1] & 0x7f;
    uint64_t payload = position + 2 + (len == 126 ? 2 : len == 127 ? 8 : 0);
    return (struct span){payload, position + 1 + outbox_frame_left_after(&whole, 1, 0)};
}

size_t outbox_before(const struct outbox *box, uint64_t until, size_t most)
{
    size_t bytes = 0;
    size_t count = outbox_spans(box);
    for (size_t i = 0; i < count && bytes <= most; i++) {
        struct span span = outbox_span(box, i);
        if (span.start >= until)
            break;
        bytes += (size_t)((span.end < until ? span.end : until) - span.start);
    }
    return bytes;
}

bool outbox_few(const struct byte_log *log, const struct outbox *box, size_t limit)
{
    const struct outbox_more *more = box->more;
    size_t private = more->private.len - more->private_sent;
    size_t copied = private > more->excused ? private - more->excused : 0;
    return copied <= limit && outbox_before(box, log->base + LOG_CHUNK, limit) <= limit - copied;
}

/* Looks on for the second of two line ends; the last byte before was one if `*feed`. Returns how
 * many bytes that took. */
static size_t to_event_end(const char *bytes, size_t len, bool *feed, bool *found)
{
    for (size_t i = 0; i < len && !*found; i++) {
        *found = *feed && bytes[i] == '\n';
        *feed = bytes[i] == '\n';
        if (*found)
            return i + 1;
    }
    return len;
}

void outbox_find_event(const struct byte_log *log, struct outbox *box)
{
    struct outbox_more *more = box->more;
    bool feed = false;
    bool found = false;
    if (!more)
        return;
    size_t left = more->private_sent < more->private.len
                      ? to_event_end(more->private.data + more->private_sent,
                            more->private.len - more->private_sent, &feed, &found)
                      : 0;
    size_t spans = outbox_spans(box);
    for (size_t i = 0; i < spans && !found; i++) {
        struct span span = outbox_span(box, i);
        while (span.start < span.end && !found) {
            struct iovec piece = log_piece(log, span.start, span.end);
            left += to_event_end(piece.iov_base, piece.iov_len, &feed, &found);
            span.start += piece.iov_len;
        }
    }
    more->frame_left = (uint32_t)left;
}

size_t outbox_private(const struct outbox *box)
{
    return box->more ? box->more->private.len - box->more->private_sent : 0;
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

/* --- private bytes ---------------------------------------------------------------------------- */

static bool private_reserve(struct byte_log *log, struct outbox_more *more, size_t len)
{
    size_t before = outbox_weight(more);
    if (more->private_sent > 0) {
        more->private.len -= more->private_sent;
        memmove(more->private.data, more->private.data + more->private_sent, more->private.len);
        more->private_sent = 0;
    }
    if (!buf_reserve(&more->private, len)) {
        more->private.failed = false;
        return false;
    }
    log->charged += outbox_weight(more) - before;
    return true;
}

bool outbox_move_out(struct byte_log *log, struct outbox *box, uint64_t until)
{
    struct outbox_more *more = box->more;
    size_t len = outbox_before(box, until, SIZE_MAX);
    if (len == 0)
        return true;
    if (!private_reserve(log, more, len))
        return false;
    while (box->first.start < box->first.end && box->first.start < until) {
        uint64_t end = box->first.end < until ? box->first.end : until;
        struct iovec piece = log_piece(log, box->first.start, end);
        buf_append(&more->private, piece.iov_base, piece.iov_len);
        box->first.start += piece.iov_len;
        if (box->first.start == box->first.end && more->count > 0) {
            box->first = more->spans[more->at++];
            if (--more->count == 0)
                more->at = 0;
        }
    }
    outbox_hold(log, box);
    return true;
}

bool outbox_tell(struct byte_log *log, struct outbox *box, struct text frame)
{
    struct outbox_more *more = box->more;
    if (!private_reserve(log, more, frame.len))
        return false;
    buf_append_text(&more->private, frame);
    return true;
}

void outbox_excuse(struct outbox *box, size_t bytes)
{
    box->more->excused += bytes;
}

void outbox_fence(struct outbox *box, uint64_t position)
{
    if (box->more)
        box->more->fence = position;
}

/* --- forgetting ------------------------------------------------------------------------------- */

/* The first `spans` spans without the ranges, to `out` if that is not NULL; returns how many that
 * makes. */
static size_t without(const struct outbox *box, size_t spans, const struct span *ranges,
    size_t count, struct span *out)
{
    size_t kept = 0;
    size_t r = 0;
    for (size_t i = 0; i < spans; i++) {
        struct span span = outbox_span(box, i);
        for (; r < count && ranges[r].start < span.end; r++) {
            MUST_DEBUG(ranges[r].start >= span.start && ranges[r].end <= span.end);
            if (ranges[r].start > span.start) {
                if (out)
                    out[kept] = (struct span){span.start, ranges[r].start};
                kept++;
            }
            span.start = ranges[r].end;
        }
        if (span.start < span.end) {
            if (out)
                out[kept] = span;
            kept++;
        }
    }
    MUST_DEBUG(r == count);
    return kept;
}

/* Puts `kept` spans in the place of the first `gone`, of which there is one at least. */
static bool replace_first(
    struct byte_log *log, struct outbox *box, size_t gone, const struct span *kept, size_t count)
{
    struct outbox_more *more = box->more;
    size_t room = more->at + gone; /* `first` and the row up to the others */
    size_t others = 1 + more->count - gone;
    size_t before = outbox_weight(more);
    MUST(others + count <= UINT32_MAX / 4);
    if (count > room || (more->cap > SPANS_KEPT && others + count < more->cap / 4)) {
        /* Not in place: there is no room, or far too much. */
        size_t cap = others + 2 * count;
        struct span *spans = NULL;
        if (cap > 0 && !(spans = malloc(cap * sizeof *spans)))
            return false;
        if (others > 0) {
            MUST(spans);
            memcpy(spans + 2 * count, more->spans + room - 1, others * sizeof *spans);
        }
        free(more->spans);
        more->spans = spans;
        more->cap = (uint32_t)cap;
        room = 2 * count + 1;
    }
    size_t at = room - count;
    if (count > 1) {
        MUST(more->spans);
        memcpy(more->spans + at, kept + 1, (count - 1) * sizeof *kept);
    }
    if (count > 0)
        box->first = kept[0];
    else
        box->first = others > 0 ? more->spans[at - 1] : (struct span){0, 0};
    more->count = (uint32_t)(count + others > 0 ? count + others - 1 : 0);
    more->at = more->count > 0 ? (uint32_t)at : 0;
    log->charged = log->charged - before + outbox_weight(more);
    return true;
}

bool outbox_forget(
    struct byte_log *log, struct outbox *box, const struct span *ranges, size_t count)
{
    size_t spans = spans_before(box, ranges[count - 1].end);
    size_t left = without(box, spans, ranges, count, NULL);
    struct span *kept = malloc((left + 1) * sizeof *kept);
    if (!kept)
        return false;
    without(box, spans, ranges, count, kept);
    bool good = replace_first(log, box, spans, kept, left);
    free(kept);
    if (good)
        outbox_hold(log, box);
    return good;
}

bool outbox_cut(struct byte_log *log, struct outbox *box, struct text last)
{
    struct buf rest = {0};
    struct iovec pieces[PIECES_MAX];
    size_t left = box->more ? box->more->frame_left : 0;
    while (left > 0) {
        int count = outbox_gather(log, box, pieces);
        size_t taken = 0;
        for (int i = 0; i < count && left > 0; i++) {
            size_t part = pieces[i].iov_len < left ? pieces[i].iov_len : left;
            buf_append(&rest, pieces[i].iov_base, part);
            left -= part;
            taken += part;
        }
        MUST(taken > 0);
        outbox_advance(box, taken);
    }
    buf_append_text(&rest, last);
    uint32_t frame_left = box->more ? box->more->frame_left : 0;
    bool blocked = box->more && !list_empty(&box->more->stalled);
    outbox_clear(log, box);
    if (rest.failed || !outbox_more_take(log, box)) {
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
