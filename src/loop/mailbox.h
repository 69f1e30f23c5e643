/* What one thread tells another: a queue that its owner empties in one go, and a bell that wakes
 * it.
 *
 * Order: first in, first out over all posters together.
 * Threads: anyone posts; the owner, whose loop the bell is on, takes.
 * Lock: MAILBOX. A mutex and not a lock-free queue: with uv_async_send's relaxed check a wake-up
 *   can be lost (libuv issue 4584). The bell is rung only when the owner has said that it is about
 *   to sleep, so a busy owner costs its posters no system call; and under no lock, so that the
 *   owner does not wake only to wait for it.
 * Memory: the queue grows as it must; posters that a peer drives ask mailbox_crowded and stop
 *   reading from that peer. With no memory for an entry the process dies, for what is in the queue
 *   must not be lost in silence. */
#ifndef HERMES_LOOP_MAILBOX_H
#define HERMES_LOOP_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "loop/bell.h"
#include "loop/lock.h"

/* Everything that crosses threads. */
enum mail_kind {
    MAIL_CONNECTION, /* to a worker: an accepted socket; word is the descriptor and flags */
    MAIL_MESSAGE,    /* to a worker: item is a counted message for its subscribers */
    MAIL_RESUME,     /* to a worker: a mailbox that was crowded has room */
    MAIL_RULES,      /* to a worker: other rules are in force; to the admin listener: item is the
                      * token it asks for from now on */
    MAIL_SWEEP,      /* to a worker: there may be topics that nobody subscribes by name */
    MAIL_PRESENCE,   /* to a worker: item is a question who subscribes here, or its answer */
    MAIL_INQUIRY,    /* to a worker: item is a question of the admin listener's; back to that */
    MAIL_ALIVE,      /* to a worker: a number that it is to remember, to show that it goes round */
    MAIL_MISSED,     /* to a worker: messages that patterns match may have been missed */
    MAIL_ERRAND, /* to the cluster thread: item is an errand of another thread's; back to that */
    MAIL_DRAIN,  /* to the acceptor, the workers, the admin listener: end gracefully */
};

struct mail {
    enum mail_kind kind;
    uint32_t weight; /* bytes that this mail keeps in memory */
    void *item;
    uint64_t word;
};

enum { MAILBOX_WAITERS_MAX = 256 };

struct mailbox {
    struct lock lock;
    struct mail *mails GUARDED_BY(lock);
    size_t count GUARDED_BY(lock);
    size_t cap GUARDED_BY(lock);
    bool asleep GUARDED_BY(lock);
    bool closed GUARDED_BY(lock);
    uint64_t waiters[MAILBOX_WAITERS_MAX / 64] GUARDED_BY(lock);
    _Atomic size_t weight;    /* posted and not yet done with */
    _Atomic bool waited_for;  /* some waiter is set */
    _Atomic unsigned ringing; /* posters that owe a ring: the bell stays until they have rung */
    struct bell bell;
};

/* Mail taken out of a box, being worked off by the owner. */
struct tray {
    struct mail *mails;
    size_t at; /* the next one */
    size_t count;
    size_t cap;
};

/* `rang` is called on the owner's loop after a post woke it. Returns a libuv error code. */
int mailbox_open(struct mailbox *box, uv_loop_t *loop, void (*rang)(void *user), void *user);

/* Stops the bell (on the owner's thread); posts from then on are refused. */
void mailbox_close(struct mailbox *box);
void mailbox_fini(struct mailbox *box);

/* From any thread. False when the box is closed: the item stays the caller's. */
bool mailbox_post(struct mailbox *box, struct mail mail);

/* The same in two steps, for who posts under a lock. MAILBOX_RING: the caller has to call
 * mailbox_ring, soon, and under no lock. */
enum mailbox_put { MAILBOX_CLOSED, MAILBOX_PUT, MAILBOX_RING };
enum mailbox_put mailbox_put(struct mailbox *box, struct mail mail);
void mailbox_ring(struct mailbox *box);

/* From any thread: mail that has time until the owner wakes for something else, unless `hurry` is
 * set, which only the owner does; it takes its mail after that. False when the box is closed: the
 * item stays the caller's. */
bool mailbox_leave(struct mailbox *box, struct mail mail, const _Atomic bool *hurry);

/* The owner: moves all mail behind what is left in the tray. True if there is any in the tray. */
bool mailbox_take(struct mailbox *box, struct tray *tray);

/* The owner, before its loop blocks: true when the box is empty and nobody waits, and the next post
 * will ring. */
bool mailbox_sleep(struct mailbox *box);

/* The owner: done with mail of that weight. */
void mailbox_done(struct mailbox *box, size_t weight);

/* Whether more than `limit` bytes wait in it. From any thread. */
static inline bool mailbox_crowded(struct mailbox *box, size_t limit)
{
    return atomic_load_explicit(&box->weight, memory_order_relaxed) > limit;
}

/* Asks the owner to post MAIL_RESUME to worker `waiter` when the box has room. False when it is not
 * over `limit` any more: no need to wait. From any thread. */
bool mailbox_wait(struct mailbox *box, unsigned waiter, size_t limit);

/* The owner, whenever the weight is below its mark: takes the waiters; true if there are any. One
 * that comes just after that is not slept over: see mailbox_sleep. */
bool mailbox_waiters(struct mailbox *box, uint64_t out[MAILBOX_WAITERS_MAX / 64]);

void tray_fini(struct tray *tray);

#endif
