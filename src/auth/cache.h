/* Tokens whose signature has held, by the SHA-256 of their text: what they claim, so that nobody
 * pays for a signature twice.
 *
 * Places are in sets of four; where a set is full, the one that was not asked for the longest goes.
 * It is all for one set of keys: new keys, new cache.
 * Memory: 192 KiB for 4096 places, taken with the first token, and what the claims have: about 150
 *   bytes each.
 * Threads: one. */
#ifndef HERMES_AUTH_CACHE_H
#define HERMES_AUTH_CACHE_H

#include <stdint.h>

#include "auth/claims.h"

enum { CACHE_PLACES = 4096, CACHE_WAYS = 4, CACHE_DIGEST = 32 };

struct cache_place {
    unsigned char digest[CACHE_DIGEST];
    struct claims *claims; /* NULL: free */
    uint64_t used;         /* when, by `turn` */
};

struct cache {
    struct cache_place *places; /* NULL until the first one is put */
    uint64_t turn;
};

/* All zero is an empty one. */
void cache_fini(struct cache *c);

/* Borrowed: to be held by whoever keeps it. NULL: not there. */
struct claims *cache_find(struct cache *c, const unsigned char digest[CACHE_DIGEST]);

/* Takes a reference of its own; nothing happens when there is no memory. The token is not there. */
void cache_put(struct cache *c, const unsigned char digest[CACHE_DIGEST], struct claims *claims);

/* Forgets one, if it is there. */
void cache_forget(struct cache *c, const unsigned char digest[CACHE_DIGEST]);

#endif
