/* A question to the workers, from a thread with a mailbox of its own, such as the admin listener's.
 *
 * Order: inquiry_init; inquiry_ask, once; then each worker that was asked calls `look` in turns of
 *   its loop until it says that it is done; then, once, `done` on the asker's thread, also when
 *   workers have ended meanwhile (their parts are `lost`), who may free it all.
 * Ownership: the asker's, embedded in whatever it wants to remember. It must stay until `done`, so
 *   whoever is gone by then is left out there and not before.
 * Threads: a part is touched by its worker only, until `done`; by the asker only, then.
 * Lock: none but the mailboxes'. A worker that nobody asks pays one look at an empty list a turn.
 */
#ifndef HERMES_SESSION_INQUIRY_H
#define HERMES_SESSION_INQUIRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "loop/mailbox.h"

struct inquiry;
struct worker;
struct workshop;

/* What one worker has found. */
struct inquiry_part {
    struct list node; /* in the worker's list while it is at it */
    struct inquiry *inquiry;
    uintptr_t cursor; /* for `look`: 0 the first time; see slab_step */
    uint64_t count;   /* for `look` as well */
    struct buf found;
    bool lost; /* the worker ended before it was done: there may be something in it, or nothing */
};

struct inquiry {
    /* On the worker's thread, once a turn: some hundred sessions, or half a millisecond, and no
     * more. True: there is nothing left to be done. It may close sessions, too. */
    bool (*look)(struct inquiry *q, struct worker *w, struct inquiry_part *part);
    void (*done)(struct inquiry *q); /* on the asker's */
    struct mailbox *home;            /* the asker's */
    _Atomic unsigned waiting;        /* workers that are not done, and the asker while it asks */
    unsigned count;                  /* of parts: one a worker */
    struct inquiry_part *parts;
};

/* Makes the parts; false when there is no memory. The functions are set by the caller. */
bool inquiry_init(struct inquiry *q, const struct workshop *shop, struct mailbox *home);
void inquiry_fini(struct inquiry *q);

/* Asks the workers whose bit is set, NULL: all. `done` comes by mail, never from within. The mail
 * is the asker's only sign: its thread must not end before. The admin listener: by admin_ask. */
void inquiry_ask(struct inquiry *q, const struct workshop *shop, const uint64_t *workers);

/* The asker, for a MAIL_INQUIRY that came. */
void inquiry_finish(struct inquiry *q);

/* --- for the worker --------------------------------------------------------------------------- */

/* For a MAIL_INQUIRY that came. */
void worker_inquiry_begin(struct worker *w, struct inquiry *q);

/* Goes on with one of those that are under way; false when there is more to do. */
bool worker_inquire(struct worker *w);

/* The worker ends: all that are under way are lost; and one that was still in its mail. */
void worker_inquiries_lose(struct worker *w);
void worker_inquiry_lose(struct worker *w, struct inquiry *q);

#endif
