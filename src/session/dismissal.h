/* Closing clients from outside: one by its id, or all of one user.
 *
 * Order: dismissal_begin; `done` on the asker's thread, then dismissal_free.
 * Threads: the asker's, but for what the inquiry does. */
#ifndef HERMES_SESSION_DISMISSAL_H
#define HERMES_SESSION_DISMISSAL_H

#include "session/inquiry.h"
#include "session/session.h"

enum { DISMISSAL_REASON_MAX = 123 };

struct dismissal {
    struct inquiry inquiry;
    uint64_t client;  /* where `user` is NULL */
    struct text user; /* its own copy */
    int code;
    char reason[DISMISSAL_REASON_MAX + 1];
    void (*done)(struct dismissal *d, void *context);
    void *context;
    uint64_t count; /* clients closed, when it is done */
    bool ending;    /* there were workers that have ended: theirs are gone, closed for that */
};

/* A question that can be asked by inquiry_ask, once `done` and `context` are set. `user.at` NULL:
 * by `client`. NULL when there is no memory. `reason` is UTF-8 of at most DISMISSAL_REASON_MAX
 * bytes without a zero. */
struct dismissal *dismissal_new(const struct workshop *shop, struct mailbox *home, uint64_t client,
    struct text user, int code, struct text reason);
void dismissal_free(struct dismissal *d);

#endif
