/* Why a client did not get a message, asked from outside: of the worker that has or had it, which
 * its id tells. What the worker says is in session/verdict.h.
 *
 * Order: explain_new, `done` and `context`, inquiry_ask of `workers`; `done` on the asker's thread,
 *   then explain_free.
 * Threads: the asker's, but for what the inquiry does. */
#ifndef HERMES_SESSION_EXPLAIN_H
#define HERMES_SESSION_EXPLAIN_H

#include "session/inquiry.h"
#include "session/verdict.h"
#include "session/worker.h"

/* How far the worker has got with the client's queue. */
struct explain_scan {
    uint64_t at; /* in the worker's log */
    unsigned turns;
    bool found;
    bool unclear; /* what some of the frames are */
    enum queued queued;
};

struct explain {
    struct inquiry inquiry;
    uint64_t workers[MAILBOX_WAITERS_MAX / 64]; /* to be asked: one of them */
    unsigned worker;
    uint64_t number; /* of the client, among the worker's */
    uint64_t client;
    uint64_t hash;
    uint64_t offset;
    struct text topic;        /* its own copy */
    struct explain_scan scan; /* the worker's, until it is done */
    void (*done)(struct explain *e, void *context);
    void *context;
};

/* `offset`: 1 or more. NULL when there is no memory. */
struct explain *explain_new(const struct workshop *shop, struct mailbox *home, uint64_t client,
    struct text topic, uint64_t offset);
void explain_free(struct explain *e);

/* When it is done: members of a JSON object, see verdict_write. False: the worker has ended. What
 * there was no memory for has `failed`. */
bool explain_answer(const struct explain *e, const struct buf **members);

#endif
