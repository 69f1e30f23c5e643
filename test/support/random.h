/* Numbers that look random and are the same in every run. */
#ifndef HERMES_SUPPORT_RANDOM_H
#define HERMES_SUPPORT_RANDOM_H

#include <stdint.h>

struct random {
    uint64_t state;
};

static inline uint64_t random_next(struct random *r)
{
    /* splitmix64 */
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* From 0 up to `limit`, which is not among them. */
static inline uint64_t random_below(struct random *r, uint64_t limit)
{
    return random_next(r) % limit;
}

#endif
