#include "broker/history.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "broker/history_block.h"

/* A message of more bytes of frames is not copied. */
enum { COPY_BYTES = 4096, BLOCK_BYTES = 16384 };

static size_t block_size(const struct history_block *b)
{
    return sizeof *b + b->room + (b->message ? message_weight(b->message) : 0);
}

/* --- forgetting ------------------------------------------------------------------------------- */

/* The front block goes, whose messages are off the counts already. */
static void let_go(struct history *h)
{
    struct history_block *b = h->first;
    h->first = b == h->last ? NULL : b->next;
    if (!h->first)
        h->last = NULL;
    atomic_fetch_sub_explicit(&h->budget->used, block_size(b), memory_order_relaxed);
    history_block_drop(b);
}

/* That is the front row now, of the first block. */
static void set_front(struct history *h, struct history_row *row)
{
    h->row = row;
    h->left = row->count;
    h->front = history_row_frames(h->first, row);
}

/* The front row has no message left. The last block is kept though it is empty then: the next row
 * may go there. */
static void row_gone(struct history *h)
{
    struct history_block *b = h->first;
    uint32_t end = (uint32_t)((char *)h->row - b->rows) + history_row_size(h->row->len);
    if (end < b->len) {
        set_front(h, history_row_at(b, end));
    } else if (b != h->last) {
        let_go(h);
        set_front(h, history_row_at(h->first, 0));
    }
}

/* Forgets the oldest message, but for the counts. */
static inline void forget_front(struct history *h)
{
    struct text data;
    h->front = message_frame(h->front, &data);
    h->bytes -= data.len;
    if (--h->left == 0)
        row_gone(h);
}

/* Forgets so many of the oldest messages, of those there are. */
static void forget(struct history *h, uint32_t count)
{
    h->count -= count;
    h->oldest += count;
    while (count-- > 0)
        forget_front(h);
}

/* Forgets what is too old, but for so many of the newest. */
static void forget_old(struct history *h, uint64_t now_us, uint32_t keep)
{
    while (h->count > keep && now_us - h->row->us >= h->limits.age_us)
        forget(h, 1);
}

/* Forgets until there is room for so many bytes of data, or few messages are left. */
static void forget_bytes(struct history *h, size_t more, uint32_t keep)
{
    while (h->count > keep && h->bytes + more > h->limits.bytes)
        forget(h, 1);
}

static void clear(struct history *h)
{
    h->oldest += h->count;
    h->count = 0;
    h->left = 0;
    h->bytes = 0;
    while (h->first)
        let_go(h);
}

void history_expire(struct history *h, uint64_t now_us)
{
    if (h->limits.age_us == 0)
        return;
    forget_old(h, now_us, h->limits.retain ? 1 : 0);
    if (h->count == 0)
        clear(h);
}

void history_evict(struct history *h)
{
    struct history_block *b = h->first;
    if (b == h->last)
        clear(h);
    else
        while (h->first == b)
            forget(h, h->left);
}

void history_limit(struct history *h, struct history_limits limits, uint64_t now_us)
{
    h->limits = limits;
    if (h->count > limits.messages)
        forget(h, h->count - limits.messages);
    if (limits.bytes > 0)
        forget_bytes(h, 0, 1);
    history_expire(h, now_us);
    if (h->count == 0)
        clear(h);
}

/* --- adding ----------------------------------------------------------------------------------- */

/* What the limits leave of a message: its last `count` frames. */
struct part {
    const char *frames;
    uint32_t len;
    uint32_t count;
    size_t bytes; /* of data */
};

static bool is_beyond(const struct part *p, const struct history_limits *limits)
{
    return p->count > limits->messages || (limits->bytes > 0 && p->bytes > limits->bytes);
}

static void trim(struct part *p, const struct history_limits *limits)
{
    while (is_beyond(p, limits) && (p->count > 1 || limits->messages == 0)) {
        struct text data;
        const char *next = message_frame(p->frames, &data);
        p->len -= (uint32_t)(next - p->frames);
        p->frames = next;
        p->bytes -= data.len;
        p->count--;
    }
}

static struct part part_of(const struct message *m, const struct history_limits *limits)
{
    struct part p = {m->frames, m->len, m->count, 0};
    struct text data;
    const char *frame = m->frames;
    for (uint32_t left = m->count; left > 0; left--) {
        frame = message_frame(frame, &data);
        p.bytes += data.len;
    }
    if (is_beyond(&p, limits))
        trim(&p, limits);
    return p;
}

/* A large one is held, unless that would hold much that is not kept. */
static bool is_held(const struct message *m, const struct part *p)
{
    return p->len > COPY_BYTES && p->len >= m->len / 2;
}

/* One with a held message has none. */
static bool has_room(const struct history_block *b, uint32_t size)
{
    return b->room - b->len >= size;
}

/* The last block, all of whose messages are gone, starts over for a row, unless somebody reads them
 * or it is too small or large. */
static bool start_over(struct history *h, uint32_t size, uint64_t first)
{
    struct history_block *b = h->last;
    if (!b || b->message || b->room < size || b->room > 2 * size ||
        atomic_load_explicit(&b->references, memory_order_acquire) != 1)
        return false;
    b->len = 0;
    b->first = first;
    return true;
}

/* The first one is made for its row alone, so that a single small message costs little; the next
 * ones so that a full history has few, of which the one that is half forgotten wastes little. */
static uint32_t room_for(const struct history *h, uint32_t row)
{
    size_t half = (h->bytes + (size_t)h->count * sizeof(struct history_row)) / 2;
    if (half > BLOCK_BYTES)
        half = BLOCK_BYTES;
    return half > row ? (uint32_t)half & ~7u : row;
}

/* A new last block; one with a message in its row's place when `held` is not NULL. */
static bool block_add(
    struct history *h, uint32_t room, struct message *held, const char *frames, uint64_t first)
{
    if (h->count == 0)
        clear(h);
    struct history_block *b = malloc(sizeof *b + room);
    if (!b)
        return false;
    *b = (struct history_block){
        .message = held, .frames = frames, .first = first, .references = 1, .room = room};
    if (held)
        message_hold(held, 1);
    atomic_fetch_add_explicit(&h->budget->used, block_size(b), memory_order_relaxed);
    if (h->last)
        h->last->next = b;
    else
        h->first = b;
    h->last = b;
    return true;
}

/* Writes a row behind those of the last block, which has room for it. */
static inline void append(struct history *h, const struct part *p, uint32_t size, uint64_t now_us)
{
    struct history_block *b = h->last;
    struct history_row *row = history_row_at(b, b->len);
    *row = (struct history_row){now_us, p->count, p->len};
    if (!b->message)
        memcpy(row + 1, p->frames, p->len);
    b->len += size;
    h->bytes += p->bytes;
    if (h->count == 0)
        set_front(h, row);
    h->count += p->count;
}

/* Adds any message; those of the commonest kind have come another way. */
static bool __attribute__((noinline)) add_any(struct history *h, struct message *m, uint64_t now_us)
{
    struct part p = part_of(m, &h->limits);
    uint32_t keep = p.count == m->count ? h->limits.messages - p.count : 0;
    uint64_t first = m->offset + (m->count - p.count);
    if (h->limits.age_us > 0)
        forget_old(h, now_us, 0);
    if (h->count > keep)
        forget(h, h->count - keep);
    if (h->limits.bytes > 0)
        forget_bytes(h, p.bytes, 0);
    if (h->count == 0)
        h->oldest = first;
    if (p.count == 0) {
        clear(h);
        return true;
    }
    bool held = is_held(m, &p);
    uint32_t size = held ? (uint32_t)sizeof(struct history_row) : history_row_size(p.len);
    bool room = held ? false : h->count == 0 ? start_over(h, size, first) : has_room(h->last, size);
    if (!room && !block_add(h, held ? size : room_for(h, size), held ? m : NULL, p.frames, first)) {
        clear(h);
        h->oldest = m->offset + m->count;
        return false;
    }
    append(h, &p, size, now_us);
    return true;
}

bool history_add(struct history *h, struct message *m, uint64_t now_us)
{
    MUST_DEBUG(h->count == 0 || m->offset == h->oldest + h->count);
    /* One message more in a full history that is limited by count alone, or by an age that nothing
     * has reached. */
    uint32_t size = history_row_size(m->len);
    if (m->count == 1 && h->count > 1 && h->count == h->limits.messages && h->limits.bytes == 0 &&
        (h->limits.age_us == 0 || now_us - h->row->us < h->limits.age_us) && m->len <= COPY_BYTES &&
        has_room(h->last, size)) {
        struct text data;
        message_frame(m->frames, &data);
        h->count--;
        h->oldest++;
        forget_front(h);
        append(h, &(struct part){m->frames, m->len, 1, data.len}, size, now_us);
        return true;
    }
    return add_any(h, m, now_us);
}

void history_init(
    struct history *h, struct history_limits limits, struct history_budget *budget, uint64_t next)
{
    *h = (struct history){.limits = limits, .budget = budget, .oldest = next};
}

void history_fini(struct history *h)
{
    clear(h);
}

uint64_t history_oldest_us(const struct history *h)
{
    return h->row->us;
}
