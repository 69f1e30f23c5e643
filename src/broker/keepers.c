#include "broker/keepers.h"

#include <stdlib.h>

void keepers_init(struct keepers *k)
{
    k->list = NULL;
    k->count = k->cap = 0;
    atomic_init(&k->oldest, UINT64_MAX);
}

void keepers_fini(struct keepers *k)
{
    free(k->list);
}

static void tell_oldest(struct keepers *k)
{
    uint64_t oldest = k->count ? k->list[0]->key : UINT64_MAX;
    atomic_store_explicit(&k->oldest, oldest, memory_order_relaxed);
}

static void put(struct keepers *k, uint32_t at, struct kept *kept)
{
    k->list[at] = kept;
    kept->place = at;
}

static void sift_up(struct keepers *k, struct kept *kept)
{
    uint32_t at = kept->place;
    for (; at > 0 && k->list[(at - 1) / 2]->key > kept->key; at = (at - 1) / 2)
        put(k, at, k->list[(at - 1) / 2]);
    put(k, at, kept);
}

static void sift_down(struct keepers *k, struct kept *kept)
{
    uint32_t at = kept->place;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child + 1 < k->count && k->list[child + 1]->key < k->list[child]->key)
            child++;
        if (child >= k->count || k->list[child]->key >= kept->key)
            break;
        put(k, at, k->list[child]);
        at = child;
    }
    put(k, at, kept);
}

bool keepers_add(struct keepers *k, struct kept *kept)
{
    if (k->count == k->cap) {
        uint32_t cap = k->cap ? k->cap * 2 : 4;
        struct kept **list = realloc(k->list, cap * sizeof(struct kept *));
        if (!list)
            return false;
        k->list = list;
        k->cap = cap;
    }
    kept->key = UINT64_MAX;
    put(k, k->count++, kept);
    tell_oldest(k);
    return true;
}

void keepers_remove(struct keepers *k, struct kept *kept)
{
    struct kept *last = k->list[--k->count];
    if (last != kept) {
        put(k, kept->place, last);
        sift_up(k, last);
        sift_down(k, last);
    }
    tell_oldest(k);
}

void keepers_filled(struct keepers *k, struct kept *kept)
{
    kept->key = history_oldest_us(&kept->history);
    sift_up(k, kept);
    sift_down(k, kept);
    tell_oldest(k);
}

struct kept *keepers_settle(struct keepers *k)
{
    while (k->count > 0) {
        struct kept *top = k->list[0];
        uint64_t key = top->history.count ? history_oldest_us(&top->history) : UINT64_MAX;
        if (key == top->key)
            break;
        top->key = key;
        sift_down(k, top);
    }
    tell_oldest(k);
    return k->count && k->list[0]->key != UINT64_MAX ? k->list[0] : NULL;
}
