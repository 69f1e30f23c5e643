#include "base/slab.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"

enum { SLAB_BLOCK = 64 * 1024, SLAB_HEAD_MAX = 320 };

/* At the start of a block, which is aligned to its size, so that an item finds it by masking. */
struct slab_block {
    struct list node;
    uint32_t used;
    uint32_t first; /* offset of the first item */
    uint64_t taken[];
};

void slab_init(struct slab *s, size_t item_size)
{
    list_init(&s->open);
    list_init(&s->full);
    s->item_size = (item_size + 15) & ~(size_t)15;
    s->per_block = (uint32_t)((SLAB_BLOCK - SLAB_HEAD_MAX) / s->item_size);
    s->used = 0;
    s->empty_blocks = 0;
    MUST(s->per_block > 0 &&
         sizeof(struct slab_block) + (s->per_block + 63) / 64 * 8 <= SLAB_HEAD_MAX);
}

static void blocks_free(struct list *head)
{
    for (struct list *node = head->next, *next; node != head; node = next) {
        next = node->next;
        free(LIST_ITEM(node, struct slab_block, node));
    }
    list_init(head);
}

void slab_fini(struct slab *s)
{
    MUST(s->used == 0);
    blocks_free(&s->open);
}

static struct slab_block *block_new(struct slab *s)
{
    struct slab_block *block = aligned_alloc(SLAB_BLOCK, SLAB_BLOCK);
    if (!block)
        return NULL;
    memset(block, 0, SLAB_HEAD_MAX);
    list_init(&block->node);
    block->first = SLAB_HEAD_MAX;
    list_append(&s->open, &block->node);
    s->empty_blocks++;
    return block;
}

void *slab_new(struct slab *s)
{
    struct slab_block *block =
        list_empty(&s->open) ? block_new(s) : LIST_ITEM(s->open.next, struct slab_block, node);
    if (!block)
        return NULL;
    uint32_t word = 0;
    while (block->taken[word] == UINT64_MAX)
        word++;
    uint32_t index = word * 64 + (uint32_t)__builtin_ctzll(~block->taken[word]);
    block->taken[word] |= 1ULL << (index % 64);
    if (block->used++ == 0)
        s->empty_blocks--;
    s->used++;
    if (block->used == s->per_block) {
        list_remove(&block->node);
        list_append(&s->full, &block->node);
    }
    return (char *)block + block->first + index * s->item_size;
}

void slab_free(struct slab *s, void *item)
{
    struct slab_block *block =
        (struct slab_block *)(void *)((uintptr_t)item & ~(uintptr_t)(SLAB_BLOCK - 1));
    size_t index = (size_t)((char *)item - (char *)block - block->first) / s->item_size;
    MUST_DEBUG(block->taken[index / 64] & 1ULL << (index % 64));
    block->taken[index / 64] &= ~(1ULL << (index % 64));
    s->used--;
    if (block->used-- == s->per_block) {
        list_remove(&block->node);
        list_append(&s->open, &block->node);
    }
    if (block->used > 0)
        return;
    if (s->empty_blocks > 0) {
        list_remove(&block->node);
        free(block);
    } else {
        s->empty_blocks++;
    }
}

static void each_in(
    struct slab *s, struct slab_block *block, void (*each)(void *, void *), void *user)
{
    uint32_t left = block->used; /* the block itself may go with its last item */
    for (uint32_t index = 0; left > 0; index++) {
        if (!(block->taken[index / 64] & 1ULL << (index % 64)))
            continue;
        left--;
        each((char *)block + block->first + index * s->item_size, user);
    }
}

void slab_each(struct slab *s, void (*each)(void *item, void *user), void *user)
{
    /* Full blocks first, taken off one by one, since a block that loses an item joins the open
     * ones, which must not be walked twice. */
    struct list walk;
    list_init(&walk);
    struct list *lists[] = {&s->open, &s->full};
    for (size_t i = 0; i < 2; i++) {
        while (!list_empty(lists[i])) {
            struct list *node = lists[i]->next;
            list_remove(node);
            list_append(&walk, node);
        }
    }
    while (!list_empty(&walk)) {
        struct slab_block *block = LIST_ITEM(walk.next, struct slab_block, node);
        list_remove(&block->node);
        list_append(block->used == s->per_block ? &s->full : &s->open, &block->node);
        each_in(s, block, each, user);
    }
}

/* The block with the least address past that. */
static struct slab_block *block_past(struct slab *s, uintptr_t past)
{
    struct slab_block *found = NULL;
    struct list *lists[] = {&s->open, &s->full};
    for (size_t i = 0; i < 2; i++) {
        for (struct list *node = lists[i]->next; node != lists[i]; node = node->next) {
            struct slab_block *block = LIST_ITEM(node, struct slab_block, node);
            if ((uintptr_t)block > past && (!found || block < found))
                found = block;
        }
    }
    return found;
}

bool slab_step(struct slab *s, uintptr_t *cursor, void (*each)(void *item, void *user), void *user)
{
    struct slab_block *block = block_past(s, *cursor);
    if (!block)
        return false;
    *cursor = (uintptr_t)block;
    each_in(s, block, each, user);
    return true;
}
