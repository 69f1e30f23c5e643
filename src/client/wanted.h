/* What a client is subscribed to, to be asked for again on its next connection, and at level 2 how
 * far it has come in each topic.
 *
 * Ownership: the set owns the subscriptions. */
#ifndef HERMES_CLIENT_WANTED_H
#define HERMES_CLIENT_WANTED_H

#include <stdint.h>

#include "base/hash.h"
#include "base/map.h"
#include "base/text.h"

struct subscription {
    /* Level 2 only. */
    struct text epoch; /* owned */
    uint64_t seen;     /* offset of the last message that came */
    uint64_t command;  /* number of the command that began it on this connection */
    uint64_t token;
    uint32_t replay;
    uint8_t policy; /* enum hermes_slow */
    bool presence;
    bool known; /* epoch and seen say where to go on */
    bool live;  /* acknowledged on this connection: what comes is counted in `seen` */

    bool pattern;
    size_t len;
    char name[];
};

static inline struct text subscription_name(const struct subscription *s)
{
    return (struct text){s->name, s->len};
}

/* Copies the epoch and sets `known`; false, and nothing else, when there is no memory. */
bool subscription_set(struct subscription *s, struct text epoch, uint64_t seen);

struct wanted {
    struct map all;
    struct subscription *last; /* found last; NULL: nothing */
};

/* A topic and a pattern of the same name are two things. NULL: not there. */
struct subscription *wanted_find(
    struct wanted *w, struct hash_key key, struct text name, bool pattern);

/* The one that is there, or a new one; NULL when there is no memory. */
struct subscription *wanted_add(
    struct wanted *w, struct hash_key key, struct text name, bool pattern);

void wanted_remove(struct wanted *w, struct hash_key key, struct subscription *s);

/* One after the other: start with *at = 0; NULL at the end. Not while the set changes. */
struct subscription *wanted_next(const struct wanted *w, size_t *at);

void wanted_fini(struct wanted *w);

#endif
