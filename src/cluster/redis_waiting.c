#include "cluster/redis_waiting.h"

#include <stdlib.h>

enum { FIRST_CAP = 64 };

void redis_waiting_fini(struct redis_waiting *w)
{
    free(w->ring);
    *w = (struct redis_waiting){0};
}

static bool grow(struct redis_waiting *w)
{
    size_t cap = w->cap ? w->cap * 2 : FIRST_CAP;
    struct redis_wanted *ring = malloc(cap * sizeof *ring);
    if (!ring)
        return false;
    for (size_t i = 0; i < w->count; i++)
        ring[i] = w->ring[(w->first + i) & (w->cap - 1)];
    free(w->ring);
    w->ring = ring;
    w->first = 0;
    w->cap = cap;
    return true;
}

bool redis_waiting_add(struct redis_waiting *w, redis_answer answered, void *user)
{
    if (w->count == w->cap && !grow(w))
        return false;
    w->ring[(w->first + w->count++) & (w->cap - 1)] = (struct redis_wanted){answered, user};
    return true;
}

bool redis_waiting_take(struct redis_waiting *w, struct redis_wanted *taken)
{
    if (w->count == 0)
        return false;
    *taken = w->ring[w->first];
    w->first = (w->first + 1) & (w->cap - 1);
    w->count--;
    return true;
}
