/* The idempotency keys of late, each with what came of its first request.
 *
 * Memory: up to REPEATS_MOST keys and REPEATS_BYTES bytes, each for REPEATS_MS; past that the
 * oldest are forgotten early. Threads: one. */
#ifndef HERMES_ADMIN_API_REPEATS_H
#define HERMES_ADMIN_API_REPEATS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "base/text.h"

enum {
    REPEATS_MOST = 65536,
    REPEATS_BYTES = 32 << 20,
    REPEATS_MS = 5 * 60 * 1000,
    REPEATS_KEY_MAX = 255, /* bytes of a key */
};

struct repeat {
    struct list order;
    uint64_t hash;
    uint64_t until_ms;
    uint64_t offset;
    uint64_t epoch;
    uint32_t subscribers;
    uint32_t key_len;
    uint32_t topic_len;
    bool pending; /* what comes of it is not known yet */
    char bytes[]; /* the key, then the topic */
};

struct repeats {
    struct hash_key key;
    struct map map;
    struct list order; /* the oldest first */
    size_t bytes;
};

void repeats_init(struct repeats *r);
void repeats_fini(struct repeats *r);

/* What came of the first request with that key, or NULL. Valid until something else is called. */
const struct repeat *repeats_find(struct repeats *r, struct text key, uint64_t now_ms);

/* Remembers a key that is not there, before what is to happen once happens; the caller sets the
 * result, or forgets it. NULL when there is no memory. */
struct repeat *repeats_add(struct repeats *r, struct text key, struct text topic, uint64_t now_ms);
void repeats_forget(struct repeats *r, struct repeat *repeat);

/* The one with that key that is pending, or NULL: it may have been forgotten early. */
struct repeat *repeats_pending(struct repeats *r, struct text key);

static inline struct text repeat_topic(const struct repeat *repeat)
{
    return (struct text){repeat->bytes + repeat->key_len, repeat->topic_len};
}

#endif
