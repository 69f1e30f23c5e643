/* What a history and its views are made of: nobody else looks into it.
 *
 * Ownership: blocks are counted; the history has one reference, each view of messages in it one
 *   more.
 * Threads: the history's under its topic's stripe; views any, without. */
#ifndef HERMES_BROKER_HISTORY_BLOCK_H
#define HERMES_BROKER_HISTORY_BLOCK_H

#include <stdlib.h>

#include "broker/history.h"

/* A message as it was published, or what the limits leave of it; its frames follow, unless the
 * block holds a message in their place. */
struct history_row {
    uint64_t us;
    uint32_t count;
    uint32_t len; /* of the frames */
};

/* Rows of messages that follow each other, each at a multiple of 8 bytes. Bytes once written stay
 * as they are while anybody else holds it. `next` and `len` are final when another block has come
 * behind it: until then a view that ends in it must not look at them. */
struct history_block {
    struct history_block *next;
    struct message *message; /* held, for the one row; NULL: the frames are here */
    const char *frames;      /* of the held one, from the first that is kept on */
    uint64_t first;          /* offset of its first row's first message */
    _Atomic uint32_t references;
    uint32_t len;  /* of the rows */
    uint32_t room; /* for rows */
    char rows[] __attribute__((aligned(8)));
};

static inline struct history_row *history_row_at(struct history_block *b, uint32_t at)
{
    return (struct history_row *)(void *)(b->rows + at);
}

static inline const char *history_row_frames(
    const struct history_block *b, const struct history_row *row)
{
    return b->message ? b->frames : (const char *)(row + 1);
}

/* With the row's own head, and so that the next one is aligned. */
static inline uint32_t history_row_size(uint32_t len)
{
    return (uint32_t)sizeof(struct history_row) + ((len + 7) & ~7u);
}

static inline void history_block_drop(struct history_block *b)
{
    /* As with messages: nobody can be counting beside whoever holds the only reference. */
    if (atomic_load_explicit(&b->references, memory_order_acquire) == 1 ||
        atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) == 1) {
        if (b->message)
            message_drop(b->message);
        free(b);
    }
}

#endif
