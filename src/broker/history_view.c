#include "broker/history_block.h"

struct history_view history_view(const struct history *h, uint64_t from, uint32_t most, bool newest)
{
    if (!h || h->count == 0)
        return (struct history_view){.first = 1};
    struct history_view v = {
        .first = from > h->oldest ? from : h->oldest, .last = h->oldest + h->count - 1};
    if (v.first > v.last || most == 0)
        return (struct history_view){.first = 1};
    if (v.last - v.first >= most) {
        if (newest)
            v.first = v.last - most + 1;
        else
            v.last = v.first + most - 1;
    }
    struct history_block *b = h->first;
    while (b != h->last && b->next->first <= v.first)
        b = b->next;
    v.held = b;
    for (;; b = b->next) {
        atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
        v.bytes += b->message ? history_row_at(b, 0)->len : b->len;
        if (b == h->last || b->next->first > v.last)
            break;
    }
    v.end = b;
    if (v.bytes > h->bytes)
        v.bytes = h->bytes;
    return v;
}

/* The row at `at`, or the first one of the next block. */
static void view_row(struct history_view *v)
{
    if (v->block != v->end && v->at == v->block->len) {
        v->block = v->block->next;
        v->at = 0;
    }
    const struct history_row *row = history_row_at(v->block, v->at);
    v->frame = history_row_frames(v->block, row);
    v->left = row->count;
    v->at += v->block->message ? (uint32_t)sizeof *row : history_row_size(row->len);
}

/* Finds the first message. */
static void view_begin(struct history_view *v)
{
    struct text data;
    v->block = v->held;
    v->next = v->held->first;
    for (view_row(v); v->first - v->next >= v->left; view_row(v))
        v->next += v->left;
    for (; v->next < v->first; v->next++, v->left--)
        v->frame = message_frame(v->frame, &data);
}

bool history_view_next(struct history_view *v, uint64_t *offset, struct text *data)
{
    if (!v->held)
        return false;
    if (!v->block)
        view_begin(v);
    if (v->next > v->last)
        return false;
    if (v->left == 0)
        view_row(v);
    v->frame = message_frame(v->frame, data);
    v->left--;
    *offset = v->next++;
    return true;
}

void history_view_fini(struct history_view *v)
{
    while (v->held) {
        struct history_block *b = v->held;
        v->held = b == v->end ? NULL : b->next;
        history_block_drop(b);
    }
}

uint64_t history_when_us(const struct history *h, uint64_t offset)
{
    if (offset < h->oldest || offset - h->oldest >= h->count)
        return 0;
    struct history_block *b = h->first;
    while (b != h->last && b->next->first <= offset)
        b = b->next;
    uint64_t next = b->first;
    for (uint32_t at = 0; at < b->len;) {
        const struct history_row *row = history_row_at(b, at);
        if (offset - next < row->count)
            return row->us;
        next += row->count;
        at += b->message ? b->len : history_row_size(row->len);
    }
    return 0;
}
