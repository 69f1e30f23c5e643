/* The topics that a client is subscribed to, to be asked for again on its next connection.
 *
 * Ownership: the set owns the names. */
#ifndef HERMES_CLIENT_WANTED_H
#define HERMES_CLIENT_WANTED_H

#include "base/hash.h"
#include "base/map.h"
#include "base/text.h"

struct wanted {
    struct map topics;
};

/* Whether the topic is in the set. */
bool wanted_has(const struct wanted *w, struct hash_key key, struct text topic);

/* False when there is no memory; true, and nothing else, when it is there already. */
bool wanted_add(struct wanted *w, struct hash_key key, struct text topic);

/* Nothing happens when it is not there. */
void wanted_remove(struct wanted *w, struct hash_key key, struct text topic);

/* One after the other: start with *at = 0; false at the end. Not while the set changes. */
bool wanted_next(const struct wanted *w, size_t *at, struct text *topic);

void wanted_fini(struct wanted *w);

#endif
