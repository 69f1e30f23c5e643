/* Whose answers are waited for: a queue in the order of the commands. */
#ifndef HERMES_CLUSTER_REDIS_WAITING_H
#define HERMES_CLUSTER_REDIS_WAITING_H

#include <stdbool.h>
#include <stddef.h>

#include "cluster/redis_link.h"

struct redis_wanted {
    redis_answer answered;
    void *user;
};

struct redis_waiting {
    struct redis_wanted *ring;
    size_t first;
    size_t count;
    size_t cap; /* a power of two, or 0 */
};

void redis_waiting_fini(struct redis_waiting *w);

/* False: no memory. */
bool redis_waiting_add(struct redis_waiting *w, redis_answer answered, void *user);

/* The oldest; false when there is none. */
bool redis_waiting_take(struct redis_waiting *w, struct redis_wanted *taken);

#endif
