#include "base/map.h"

#include <stdlib.h>

#include "base/die.h"

enum { MAP_SMALLEST = 8 };

static size_t map_slots(const struct map *m)
{
    return m->slots ? (size_t)m->mask + 1 : 0;
}

void *map_find(const struct map *m, uint64_t hash, map_equal *equal, const void *wanted)
{
    if (!m->slots)
        return NULL;
    for (uint32_t i = (uint32_t)hash & m->mask;; i = (i + 1) & m->mask) {
        const struct map_slot *slot = &m->slots[i];
        if (!slot->item)
            return NULL;
        if (slot->hash == hash && equal(slot->item, wanted))
            return slot->item;
    }
}

static void place(struct map *m, uint64_t hash, void *item)
{
    uint32_t i = (uint32_t)hash & m->mask;
    while (m->slots[i].item)
        i = (i + 1) & m->mask;
    m->slots[i] = (struct map_slot){hash, item};
}

static bool resize(struct map *m, size_t slots)
{
    struct map bigger = {calloc(slots, sizeof *bigger.slots), (uint32_t)(slots - 1), m->count};
    if (!bigger.slots)
        return false;
    for (size_t i = 0; i < map_slots(m); i++)
        if (m->slots[i].item)
            place(&bigger, m->slots[i].hash, m->slots[i].item);
    free(m->slots);
    *m = bigger;
    return true;
}

bool map_add(struct map *m, uint64_t hash, void *item)
{
    size_t slots = map_slots(m);
    if ((size_t)m->count + 1 > slots - slots / 8) {
        MUST(slots <= UINT32_MAX / 2);
        if (!resize(m, slots ? slots * 2 : MAP_SMALLEST))
            return false;
    }
    place(m, hash, item);
    m->count++;
    return true;
}

void map_remove(struct map *m, uint64_t hash, const void *item)
{
    MUST(m->slots);
    uint32_t hole = (uint32_t)hash & m->mask;
    while (m->slots[hole].item != item) {
        MUST(m->slots[hole].item);
        hole = (hole + 1) & m->mask;
    }
    /* Close the gap: what follows moves up unless it would land before its own place. */
    for (uint32_t i = (hole + 1) & m->mask; m->slots[i].item; i = (i + 1) & m->mask) {
        uint32_t home = (uint32_t)m->slots[i].hash & m->mask;
        if (((i - home) & m->mask) >= ((i - hole) & m->mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole].item = NULL;
    m->count--;
    if (m->count == 0)
        map_fini(m);
    else if (map_slots(m) > MAP_SMALLEST && m->count < map_slots(m) / 8)
        (void)resize(m, map_slots(m) / 4 < MAP_SMALLEST ? MAP_SMALLEST : map_slots(m) / 4);
}

void *map_next(const struct map *m, size_t *at)
{
    for (size_t slots = map_slots(m); *at < slots;) {
        void *item = m->slots[(*at)++].item;
        if (item)
            return item;
    }
    return NULL;
}

void map_fini(struct map *m)
{
    free(m->slots);
    *m = (struct map){0};
}
