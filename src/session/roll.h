/* Who subscribes to a topic, asked from outside: as the command `presence`, see session/presence.c.
 *
 * Threads: the asker's, but for what the inquiry does. */
#ifndef HERMES_SESSION_ROLL_H
#define HERMES_SESSION_ROLL_H

#include "session/inquiry.h"
#include "session/worker.h"

struct roll {
    struct inquiry inquiry; /* when it is done, the parts' `found` have a uint64_t a client */
    uint64_t workers[MAILBOX_WAITERS_MAX / 64]; /* to be asked */
    uint64_t hash;
    struct text topic;         /* its own copy */
    struct match_set *matches; /* held, or NULL */
    void (*done)(struct roll *r, void *context);
    void *context;
};

/* A question that can be asked of `workers`, once `done` and `context` are set. NULL when there is
 * no memory. */
struct roll *roll_new(struct workshop *shop, struct mailbox *home, struct text topic);
void roll_free(struct roll *r);

#endif
