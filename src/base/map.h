/* A table of pointers by 64-bit hash: open addressing, linear probing, no tombstones.
 *
 * It knows hashes and pointers only; what makes two items equal is the caller's: map_find is given
 * a predicate. Hashes come from a keyed function (base/hash.h), so strangers cannot make them meet.
 *
 * Memory: 16 bytes a slot, 8 slots at least, between an eighth and seven eighths full; an empty map
 *   has no slots. */
#ifndef HERMES_BASE_MAP_H
#define HERMES_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
    uint64_t hash;
    void *item; /* NULL: free */
};

struct map {
    struct map_slot *slots;
    uint32_t mask; /* slots - 1; 0 with no slots */
    uint32_t count;
};

typedef bool map_equal(const void *item, const void *wanted);

/* The item with that hash for which `equal` holds, or NULL. */
void *map_find(const struct map *m, uint64_t hash, map_equal *equal, const void *wanted);

/* Adds an item that is not in the map; false when there is no memory. */
bool map_add(struct map *m, uint64_t hash, void *item);

/* Removes an item that is in the map. */
void map_remove(struct map *m, uint64_t hash, const void *item);

/* The items one after the other: start with *at = 0; NULL at the end. Not while it changes. */
void *map_next(const struct map *m, size_t *at);

/* Frees the slots, not the items. */
void map_fini(struct map *m);

#endif
