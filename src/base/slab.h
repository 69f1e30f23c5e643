/* Items of one size from blocks of many: no malloc header an item, and neighbours in memory.
 *
 * Memory: a block that is wholly free again is given back, but for one.
 * Threads: one. */
#ifndef HERMES_BASE_SLAB_H
#define HERMES_BASE_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct slab {
    struct list open; /* blocks with a free item */
    struct list full;
    size_t item_size;
    uint32_t per_block;
    uint32_t used; /* items handed out */
    uint32_t empty_blocks;
};

/* Items are aligned to 64 bytes when their size is a multiple of it, else to 16. */
void slab_init(struct slab *s, size_t item_size);

/* Every item must have been given back. */
void slab_fini(struct slab *s);

/* An item, its bytes undefined; NULL when there is no memory. */
void *slab_new(struct slab *s);
void slab_free(struct slab *s, void *item);

/* Calls `each` for every item handed out. It may free the item it is given, and no other. */
void slab_each(struct slab *s, void (*each)(void *item, void *user), void *user);

/* The same in slices: calls `each` for the items of one block, some hundred at most, and moves
 * `*cursor` on, which is 0 at first. False when that was all. Between two slices items may come and
 * go: whichever stays is visited once. */
bool slab_step(struct slab *s, uintptr_t *cursor, void (*each)(void *item, void *user), void *user);

#endif
