#include "auth/cache.h"

#include <stdlib.h>
#include <string.h>

/* The digests are of tokens that somebody with a key has signed: nobody chooses his place. */
static struct cache_place *set_of(const struct cache *c, const unsigned char *digest)
{
    uint32_t at;
    memcpy(&at, digest, sizeof at);
    return c->places + at % (CACHE_PLACES / CACHE_WAYS) * CACHE_WAYS;
}

static struct cache_place *find(const struct cache *c, const unsigned char *digest)
{
    if (!c->places)
        return NULL;
    struct cache_place *set = set_of(c, digest);
    for (size_t i = 0; i < CACHE_WAYS; i++)
        if (set[i].claims && memcmp(set[i].digest, digest, CACHE_DIGEST) == 0)
            return &set[i];
    return NULL;
}

void cache_fini(struct cache *c)
{
    for (size_t i = 0; c->places && i < CACHE_PLACES; i++)
        claims_drop(c->places[i].claims);
    free(c->places);
    *c = (struct cache){0};
}

struct claims *cache_find(struct cache *c, const unsigned char digest[CACHE_DIGEST])
{
    struct cache_place *place = find(c, digest);
    if (!place)
        return NULL;
    place->used = ++c->turn;
    return place->claims;
}

void cache_put(struct cache *c, const unsigned char digest[CACHE_DIGEST], struct claims *claims)
{
    if (!c->places && !(c->places = calloc(CACHE_PLACES, sizeof *c->places)))
        return;
    struct cache_place *set = set_of(c, digest);
    struct cache_place *oldest = set;
    for (size_t i = 1; i < CACHE_WAYS; i++)
        if (set[i].used < oldest->used)
            oldest = &set[i];
    claims_drop(oldest->claims);
    claims_hold(claims);
    oldest->claims = claims;
    oldest->used = ++c->turn;
    memcpy(oldest->digest, digest, CACHE_DIGEST);
}

void cache_forget(struct cache *c, const unsigned char digest[CACHE_DIGEST])
{
    struct cache_place *place = find(c, digest);
    if (!place)
        return;
    claims_drop(place->claims);
    place->claims = NULL;
    place->used = 0;
}
