/* What a message goes through under its topic's stripe, wherever it was numbered.
 *
 * Lock: the topic's STRIPE, but for post_wake. */
#ifndef HERMES_BROKER_POST_H
#define HERMES_BROKER_POST_H

#include "broker/search.h"

/* A set of workers. */
struct post_workers {
    uint64_t words[MAILBOX_WAITERS_MAX / 64];
};

/* Says what it is about: the topic, and the patterns that match it. */
void post_address(const struct search *s, struct message *m);

/* Keeps a numbered message; the topic keeps some. */
void post_keep(struct search *s, struct message *m);

/* Posts to every interested worker; one reference each. Who has to be woken for it is put into
 * `asleep`. Returns a worker that lags behind, or -1. */
int post_all(const struct search *s, struct message *m, struct post_workers *asleep);

/* Wakes them; under no lock. */
void post_wake(struct route *r, const struct post_workers *asleep);

#endif
