/* The newest messages of one topic, kept for those who come later or come back.
 *
 * A row of blocks, each with whole rows of frames as they were published (see broker/message.h);
 * large messages are not copied but held. Blocks are counted and never change but at their end, so
 * a reader takes a view in O(blocks) under the lock and reads it without.
 *
 * Memory: what it holds is added to `*used` of the budget, by the size of the blocks, and taken off
 *   when it lets go of them (not later, when the last view of them goes).
 * Threads: history_* under the topic's stripe; history_view_* any, without. */
#ifndef HERMES_BROKER_HISTORY_H
#define HERMES_BROKER_HISTORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "broker/message.h"

struct history_limits {
    uint32_t messages; /* 0: no history at all */
    bool retain;       /* the newest message is kept whatever its age */
    uint64_t bytes;    /* of the data of all its messages, 0: no limit; the newest stays */
    uint64_t age_us;   /* 0: no limit */
};

/* What all histories of one broker share. */
struct history_budget {
    size_t most; /* 0: no limit */
    _Atomic size_t used;
};

struct history_block;
struct history_row;

struct history {
    struct history_limits limits;
    struct history_budget *budget;
    struct history_block *first; /* NULL: empty */
    struct history_block *last;
    uint64_t oldest; /* offset of its first message; of the next one when it is empty */
    size_t bytes;    /* of its messages' data */
    uint32_t count;  /* messages */
    /* Of the front row, which has the first message: */
    uint32_t left;     /* messages that are not gone */
    const char *front; /* the first one's frame */
    struct history_row *row;
};

/* `next` is the offset that the topic's next message will have. */
void history_init(
    struct history *h, struct history_limits limits, struct history_budget *budget, uint64_t next);
void history_fini(struct history *h);

/* Applies other limits, and forgets what is beyond them. */
void history_limit(struct history *h, struct history_limits limits, uint64_t now_us);

/* Keeps a message that has its offsets, and forgets what is beyond the limits. `now_us` never goes
 * back. False when there is no memory: then nothing is kept any more, so that what is kept never
 * has a gap. */
bool history_add(struct history *h, struct message *m, uint64_t now_us);

/* Forgets what is too old: what was published `age_us` ago or earlier. */
void history_expire(struct history *h, uint64_t now_us);

/* When the oldest message was published; the history is not empty. */
uint64_t history_oldest_us(const struct history *h);

/* When the message of that offset was published; 0: it is not kept. Costs as much as there are
 * rows.
 */
uint64_t history_when_us(const struct history *h, uint64_t offset);

/* Forgets the oldest block, for the budget's sake; the history is not empty. */
void history_evict(struct history *h);

/* --- reading ---------------------------------------------------------------------------------- */

/* Messages `first` to `last`, gapless; none when first > last. */
struct history_view {
    uint64_t first;
    uint64_t last;
    size_t bytes; /* at most so many of data */
    /* what it holds, from one block to the other; NULL: nothing */
    struct history_block *held;
    struct history_block *end;
    /* where it reads */
    struct history_block *block; /* NULL: not begun */
    uint64_t next;               /* offset of the next message */
    const char *frame;           /* its frame, while its row has some left */
    uint32_t left;
    uint32_t at; /* the next row in `block` */
};

/* A view of those with an offset from `from` on that are still kept: of more than `most`, the
 * first ones, or with `newest` the last ones. Always to be given to history_view_fini. The history
 * may be NULL: nothing. What is too old already and not yet forgotten is there too. */
struct history_view history_view(
    const struct history *h, uint64_t from, uint32_t most, bool newest);

/* The next message, whose text is valid until history_view_fini; false at the end. */
bool history_view_next(struct history_view *v, uint64_t *offset, struct text *data);

void history_view_fini(struct history_view *v);

#endif
