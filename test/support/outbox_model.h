/* Outboxes on one log, next to a naive model of each: all the bytes that its peer must receive.
 *
 * The test that includes this says what the peers are: wire_open, wire_take, wire_close. */
#ifndef HERMES_SUPPORT_OUTBOX_MODEL_H
#define HERMES_SUPPORT_OUTBOX_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "net/outbox.h"
#include "proto/ws_out.h"
#include "support/random.h"

struct peer {
    struct outbox box;
    struct conn conn;
    void *wire;        /* the test's */
    struct buf stream; /* from the first byte: what must come */
    struct buf frames; /* uint64_t: where in it each frame ends */
    uint64_t sent;     /* bytes that outbox_flush says are sent */
    uint64_t received; /* bytes that came */
    bool blocked;
};

struct hub {
    struct byte_log log;
    struct peer *peers;
    size_t count;
    struct random random;
    struct buf frame;
    size_t cuts; /* how often it came to that */
    size_t copies;
    size_t given; /* flushes whose first write was made for them */
    size_t forgotten;
    size_t told;
    size_t fences; /* that a flush ended at */
};

static void wire_open(struct peer *p, struct random *r);
static void wire_close(struct peer *p);

/* Up to `len` bytes that have arrived. */
static size_t wire_take(struct peer *p, char *bytes, size_t len);

static void peer_open(struct hub *h, struct peer *p)
{
    memset(p, 0, sizeof *p);
    wire_open(p, &h->random);
}

static void peer_close(struct hub *h, struct peer *p)
{
    outbox_clear(&h->log, &p->box);
    assert_true(outbox_empty(&p->box));
    buf_fini(&p->stream);
    buf_fini(&p->frames);
    wire_close(p);
}

static void hub_open(struct hub *h, size_t count, uint64_t seed)
{
    memset(h, 0, sizeof *h);
    h->random.state = seed;
    h->count = count;
    h->peers = calloc(count, sizeof *h->peers);
    assert_non_null(h->peers);
    log_init(&h->log, 0);
    for (size_t i = 0; i < count; i++)
        peer_open(h, &h->peers[i]);
}

static void hub_close(struct hub *h)
{
    for (size_t i = 0; i < h->count; i++)
        peer_close(h, &h->peers[i]);
    assert_int_equal(h->log.charged, 0);
    outbox_spares_free(&h->log);
    log_trim(&h->log, h->log.end);
    assert_in_range(h->log.count, 0, 1);
    assert_int_equal(log_size(&h->log), h->log.count * LOG_CHUNK);
    log_fini(&h->log);
    free(h->peers);
    buf_fini(&h->frame);
}

/* The peer is owed these bytes, which end a frame. */
static void peer_owe(struct peer *p, const void *bytes, size_t len)
{
    buf_append(&p->stream, bytes, len);
    uint64_t end = p->stream.len;
    buf_append(&p->frames, &end, sizeof end);
    assert_false(p->stream.failed || p->frames.failed);
}

/* A frame of that payload length in h->frame. */
static void make_frame(struct hub *h, size_t len)
{
    uint8_t head[WS_HEAD_MAX];
    size_t head_len = ws_head(head, WS_TEXT, len);
    buf_clear(&h->frame);
    assert_true(buf_reserve(&h->frame, head_len + len + 8));
    memcpy(h->frame.data, head, head_len);
    for (size_t at = 0; at < len; at += 8) {
        uint64_t bytes = random_next(&h->random);
        memcpy(h->frame.data + head_len + at, &bytes, 8);
    }
    h->frame.len = head_len + len;
}

/* Logs h->frame. */
static struct span log_frame(struct hub *h)
{
    uint64_t start = log_append(&h->log, h->frame.data, h->frame.len);
    assert_true(h->log.end == start + h->frame.len);
    return (struct span){start, h->log.end};
}

static void deliver(struct hub *h, struct peer *p, struct span span)
{
    peer_owe(p, h->frame.data, h->frame.len);
    assert_true(outbox_add(&h->log, &p->box, span.start, span.end));
}

static void assert_unsent(const struct peer *p)
{
    assert_true(outbox_unsent(&p->box) == p->stream.len - p->sent);
}

/* Half of the flushes whose first write is one piece have it made for them (none through TLS), and
 * now and then more is added before that is told. */
static enum outbox_state flush_either_way(struct hub *h, struct peer *p, struct outbox_sent *sent)
{
    struct iovec piece = outbox_piece(&h->log, &p->box);
    if (piece.iov_len == 0 || p->conn.tls || random_below(&h->random, 2) == 0)
        return outbox_flush(&h->log, &p->box, &p->conn, sent);
    assert_true(piece.iov_len == outbox_unsent(&p->box));
    ssize_t wrote = conn_write(&p->conn, &piece, 1);
    while (random_below(&h->random, 3) == 0) {
        make_frame(h, random_below(&h->random, 300));
        if (random_below(&h->random, 2) == 0)
            log_append(&h->log, "for others", 10);
        deliver(h, p, log_frame(h));
    }
    h->given++;
    return outbox_flush_after(&h->log, &p->box, &p->conn, piece, wrote, sent);
}

/* Where in the stream the i-th span begins. */
static uint64_t stream_place(const struct peer *p, size_t i)
{
    uint64_t place = p->sent + outbox_private(&p->box);
    for (size_t k = 0; k < i; k++) {
        struct span span = outbox_span(&p->box, k);
        place += span.end - span.start;
    }
    return place;
}

/* A flush up to a fence before some span, if there is one that begins with a frame. */
static void flush_to_a_fence(struct hub *h, struct peer *p)
{
    size_t spans = outbox_spans(&p->box);
    size_t first = outbox_begun(&h->log, &p->box) > 0;
    if (!p->blocked || spans <= first)
        return;
    size_t fenced = first + (size_t)random_below(&h->random, spans - first);
    uint64_t place = stream_place(p, fenced);
    struct outbox_sent sent = {0, 0};
    outbox_fence(&p->box, outbox_span(&p->box, fenced).start);
    enum outbox_state state = outbox_flush(&h->log, &p->box, &p->conn, &sent);
    p->sent += sent.bytes;
    assert_int_equal(state, p->sent == place ? OUTBOX_FENCED : OUTBOX_BLOCKED);
    assert_true(p->sent <= place);
    h->fences += state == OUTBOX_FENCED;
    outbox_fence(&p->box, OUTBOX_NO_FENCE);
    assert_unsent(p);
}

static enum outbox_state flush(struct hub *h, struct peer *p)
{
    struct outbox_sent sent = {0, 0};
    if (random_below(&h->random, 4) == 0)
        flush_to_a_fence(h, p);
    enum outbox_state state = flush_either_way(h, p, &sent);
    p->sent += sent.bytes;
    assert_true(p->sent <= p->stream.len);
    if (state == OUTBOX_BROKEN)
        return state;
    p->blocked = state == OUTBOX_BLOCKED;
    assert_int_equal(p->blocked, p->sent < p->stream.len || conn_pending(&p->conn));
    assert_int_equal(outbox_empty(&p->box), !p->blocked);
    assert_unsent(p);
    return state;
}

static void flush_unblocked(struct hub *h)
{
    for (size_t i = 0; i < h->count; i++)
        if (!h->peers[i].blocked)
            assert_int_not_equal(flush(h, &h->peers[i]), OUTBOX_BROKEN);
}

/* What has come must be what was owed. */
static void receive(struct peer *p, size_t most)
{
    char bytes[65536];
    while (most > 0) {
        size_t got = wire_take(p, bytes, most < sizeof bytes ? most : sizeof bytes);
        if (got == 0)
            break;
        assert_true(p->received + got <= p->sent);
        assert_memory_equal(bytes, p->stream.data + p->received, got);
        p->received += got;
        most -= got;
    }
}

static void receive_all(struct hub *h, struct peer *p)
{
    do
        receive(p, SIZE_MAX);
    while (flush(h, p) == OUTBOX_BLOCKED);
    receive(p, SIZE_MAX);
    assert_true(p->received == p->stream.len);
}

/* Where the frame ends in which the stream's first `len` bytes end. */
static uint64_t frame_end(const struct peer *p, uint64_t len)
{
    uint64_t end = 0;
    for (size_t at = 0; at < p->frames.len && end < len; at += sizeof end)
        memcpy(&end, p->frames.data + at, sizeof end);
    return end;
}

static void cut(struct hub *h, struct peer *p, struct text last)
{
    uint64_t end = frame_end(p, p->sent);
    p->stream.len = (size_t)end;
    p->frames.len = 0;
    buf_append(&p->frames, &end, sizeof end);
    peer_owe(p, last.at, last.len);
    assert_true(outbox_cut(&h->log, &p->box, last));
    assert_unsent(p);
    h->cuts++;
}

/* Gives back what of the log nobody needs any more, and nothing else. */
static void trim(struct hub *h)
{
    uint64_t needed = h->log.end; /* by those that are no holders */
    uint64_t first = h->log.end;
    for (size_t i = 0; i < h->count; i++) {
        const struct span *span = &h->peers[i].box.first;
        if (span->start == span->end)
            continue;
        if (span->start < first)
            first = span->start;
        if (!h->peers[i].blocked && span->start < needed)
            needed = span->start;
    }
    log_trim(&h->log, needed);
    if (first == h->log.end)
        assert_in_range(h->log.count, 0, 1);
    else
        assert_in_range(first - h->log.base, 0, LOG_CHUNK - 1);
}

/* Makes it let go of the log's first chunk, if what it holds of that is little. */
static bool model_copy_out(struct byte_log *log, struct outbox *box, size_t limit)
{
    return outbox_few(log, box, limit) && outbox_move_out(log, box, log->base + LOG_CHUNK);
}

/* The log is too long: the oldest holder's bytes are copied out, or it is cut off. */
static void relieve(struct hub *h, size_t limit, struct text last)
{
    bool holds_chunk = false;
    struct outbox *oldest = outbox_oldest(&h->log, &holds_chunk);
    bool any_blocked = false;
    for (size_t i = 0; i < h->count; i++)
        any_blocked |= h->peers[i].blocked;
    assert_int_equal(oldest != NULL, any_blocked);
    if (!oldest)
        return;
    struct peer *p = (struct peer *)(void *)((char *)oldest - offsetof(struct peer, box));
    assert_true(p->blocked);
    uint64_t chunk_end = h->log.base + LOG_CHUNK;
    bool holds = oldest->first.start != oldest->first.end && oldest->first.start < chunk_end;
    assert_int_equal(holds_chunk, holds);
    if (!holds_chunk) {
        cut(h, p, last);
        return;
    }
    if (model_copy_out(&h->log, oldest, limit)) {
        h->copies++;
        assert_true(oldest->first.start == oldest->first.end || oldest->first.start >= chunk_end);
        assert_unsent(p);
    } else {
        assert_unsent(p);
        cut(h, p, last);
    }
}

/* What is in the stream behind `from` is `tail` now, whose frames end at `ends`, counted from
 * there.
 */
static void stream_replace(struct peer *p, uint64_t from, struct buf *tail, const struct buf *ends)
{
    size_t kept = 0;
    uint64_t end = 0;
    for (; kept < p->frames.len; kept += sizeof end) {
        memcpy(&end, p->frames.data + kept, sizeof end);
        if (end > from)
            break;
    }
    p->frames.len = kept;
    p->stream.len = (size_t)from;
    buf_append(&p->stream, tail->data, tail->len);
    for (size_t at = 0; at < ends->len; at += sizeof end) {
        memcpy(&end, ends->data + at, sizeof end);
        end += from;
        buf_append(&p->frames, &end, sizeof end);
    }
    assert_false(p->stream.failed || p->frames.failed || tail->failed || ends->failed);
}

/* Forgets about one frame in `rareness` of those that have not begun. */
static void forget_some(struct hub *h, struct peer *p, uint64_t rareness)
{
    struct buf ranges = {0};
    struct buf tail = {0};
    struct buf ends = {0};
    if (!p->blocked)
        return;
    uint64_t from = stream_place(p, 0);
    uint64_t begun = outbox_begun(&h->log, &p->box);
    assert_true(from + begun == frame_end(p, from));
    uint64_t at = from;
    struct span range = {0, 0};
    size_t spans = outbox_spans(&p->box);
    for (size_t i = 0; i < spans; i++) {
        struct span span = outbox_span(&p->box, i);
        uint64_t start = span.start;
        while (start < span.end) {
            bool rest = start == outbox_span(&p->box, 0).start && begun > 0;
            uint64_t end = rest ? start + begun : outbox_frame(&h->log, start).end;
            size_t len = (size_t)(end - start);
            assert_true(end <= span.end);
            if (!rest && random_below(&h->random, rareness) == 0) {
                h->forgotten++;
                if (range.end == start && start != span.start) {
                    range.end = end;
                } else {
                    if (range.start != range.end)
                        buf_append(&ranges, &range, sizeof range);
                    range = (struct span){start, end};
                }
            } else {
                buf_append(&tail, p->stream.data + at, len);
                uint64_t place = tail.len;
                buf_append(&ends, &place, sizeof place);
            }
            at += len;
            start = end;
        }
    }
    if (range.start != range.end)
        buf_append(&ranges, &range, sizeof range);
    assert_true(at == p->stream.len);
    stream_replace(p, from, &tail, &ends);
    if (ranges.len > 0)
        assert_true(outbox_forget(&h->log, &p->box, (const struct span *)(const void *)ranges.data,
            ranges.len / sizeof range));
    assert_unsent(p);
    buf_fini(&ranges);
    buf_fini(&tail);
    buf_fini(&ends);
}

/* Puts a frame in front of the spans, behind what has begun. */
static void tell(struct hub *h, struct peer *p)
{
    struct buf tail = {0};
    struct buf ends = {0};
    if (!p->blocked)
        return;
    uint64_t begun = outbox_begun(&h->log, &p->box);
    if (begun > 0)
        assert_true(outbox_move_out(&h->log, &p->box, p->box.first.start + begun));
    assert_int_equal(outbox_begun(&h->log, &p->box), 0);
    uint64_t from = stream_place(p, 0);
    make_frame(h, random_below(&h->random, 200));
    buf_append(&tail, h->frame.data, h->frame.len);
    uint64_t end = tail.len;
    buf_append(&ends, &end, sizeof end);
    buf_append(&tail, p->stream.data + from, p->stream.len - from);
    for (size_t at = 0; at < p->frames.len; at += sizeof end) {
        memcpy(&end, p->frames.data + at, sizeof end);
        if (end <= from)
            continue;
        end = end - from + h->frame.len;
        buf_append(&ends, &end, sizeof end);
    }
    stream_replace(p, from, &tail, &ends);
    assert_true(outbox_tell(&h->log, &p->box, buf_text(&h->frame)));
    outbox_excuse(&p->box, h->frame.len);
    assert_unsent(p);
    h->told++;
    buf_fini(&tail);
    buf_fini(&ends);
}

/* Copies out some of what is in the log. */
static void move_out(struct hub *h, struct peer *p)
{
    if (!p->blocked || p->box.first.start == p->box.first.end)
        return;
    uint64_t until = p->box.first.start + random_below(&h->random, 5000);
    assert_true(outbox_move_out(&h->log, &p->box, until));
    assert_true(p->box.first.start == p->box.first.end || p->box.first.start >= until);
    assert_unsent(p);
}

/* --- everything at once ----------------------------------------------------------------------- */

static size_t random_length(struct random *r, size_t most)
{
    static const size_t special[] = {0, 1, 124, 125, 126, 127, 65534, 65535, 65536, 65537};
    uint64_t kind = random_below(r, 100);
    size_t len = kind < 60   ? (size_t)random_below(r, 40)
                 : kind < 85 ? (size_t)random_below(r, 700)
                 : kind < 95 ? special[random_below(r, 10)]
                             : (size_t)random_below(r, most);
    return len < most ? len : most;
}

/* One frame, for about one peer in `rareness`. */
static void publish(struct hub *h, size_t most, uint64_t rareness)
{
    make_frame(h, random_length(&h->random, most));
    struct span span = log_frame(h);
    for (size_t i = 0; i < h->count; i++)
        if (random_below(&h->random, rareness) == 0)
            deliver(h, &h->peers[i], span);
}

static void random_step(struct hub *h, size_t most)
{
    static const struct text last = {"\x88\x04\x0f\xa8no", 6};
    struct random *r = &h->random;
    struct peer *p = &h->peers[random_below(r, h->count)];
    switch (random_below(r, 23)) {
    case 0: /* a burst of small frames: many spans */
        for (uint64_t i = random_below(r, 300); i > 0; i--)
            publish(h, 60, 3);
        break;
    case 1:
    case 2:
    case 3:
    case 4:
        for (uint64_t i = random_below(r, 5); i > 0; i--)
            publish(h, most, 1 + random_below(r, 3));
        break;
    case 5:
        relieve(h, (size_t)random_below(r, 40000), last);
        trim(h);
        break;
    case 6:
        if (random_below(r, 8) == 0)
            cut(h, p, last);
        break;
    case 7:
        if (random_below(r, 16) == 0) {
            peer_close(h, p);
            peer_open(h, p);
        }
        break;
    case 8:
        receive_all(h, p);
        break;
    case 9:
    case 10:
        flush_unblocked(h);
        trim(h);
        break;
    case 11:
        trim(h);
        break;
    case 12:
    case 13:
    case 14:
    case 15:
        receive(p, (size_t)random_below(r, 3000));
        assert_int_not_equal(flush(h, p), OUTBOX_BROKEN);
        break;
    case 20:
        forget_some(h, p, 1 + random_below(r, 4));
        break;
    case 21:
        tell(h, p);
        break;
    case 22:
        move_out(h, p);
        break;
    default:
        receive(p, (size_t)random_below(r, random_below(r, 2) ? 100 : 100000));
        if (p->blocked)
            assert_int_not_equal(flush(h, p), OUTBOX_BROKEN);
    }
    /* Not without bound, as the budget has it. */
    while (h->log.count > 12) {
        flush_unblocked(h);
        relieve(h, 16384, last);
        trim(h);
    }
}

static void random_life(size_t peers, uint64_t seed, int steps, size_t most)
{
    struct hub h;
    hub_open(&h, peers, seed);
    for (int i = 0; i < steps; i++)
        random_step(&h, most);
    flush_unblocked(&h);
    for (size_t i = 0; i < peers; i++)
        receive_all(&h, &h.peers[i]);
    assert_int_equal(h.log.charged, 0); /* nothing is kept for outboxes that are empty */
    assert_true(h.cuts > 0 && h.copies > 0 && h.given > 0);
    assert_true(h.forgotten > 0 && h.told > 0 && h.fences > 0);
    hub_close(&h);
}

#endif
