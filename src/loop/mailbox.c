#include "loop/mailbox.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"

enum { MAILBOX_SMALLEST = 64, TRAY_KEPT = 4096 };

int mailbox_open(struct mailbox *box, uv_loop_t *loop, void (*rang)(void *user), void *user)
{
    *box = (struct mailbox){0};
    lock_init(&box->lock, LOCK_MAILBOX);
    int code = bell_open(&box->bell, loop, rang, user);
    if (code != 0)
        lock_fini(&box->lock);
    return code;
}

void mailbox_close(struct mailbox *box)
{
    lock_take(&box->lock);
    box->closed = true;
    lock_give(&box->lock);
    while (atomic_load_explicit(&box->ringing, memory_order_acquire) > 0)
        sched_yield();
    bell_close(&box->bell);
}

void mailbox_fini(struct mailbox *box) NO_THREAD_SAFETY_ANALYSIS
{
    free(box->mails);
    lock_fini(&box->lock);
}

static struct mail *grown(struct mail *mails, size_t *cap, size_t need)
{
    size_t more = *cap ? *cap : MAILBOX_SMALLEST;
    while (more < need)
        more *= 2;
    mails = realloc(mails, more * sizeof *mails);
    if (!mails)
        die("no memory for a mailbox of %zu entries", more);
    *cap = more;
    return mails;
}

/* False when the box is closed. */
static bool put(struct mailbox *box, struct mail mail) REQUIRES(box->lock)
{
    if (box->closed)
        return false;
    if (box->count == box->cap)
        box->mails = grown(box->mails, &box->cap, box->count + 1);
    box->mails[box->count++] = mail;
    atomic_fetch_add_explicit(&box->weight, mail.weight, memory_order_relaxed);
    return true;
}

/* Whether the owner sleeps and has to be woken; it is not taken for asleep any more. */
static bool must_ring(struct mailbox *box) REQUIRES(box->lock)
{
    if (!box->asleep)
        return false;
    box->asleep = false;
    atomic_fetch_add_explicit(&box->ringing, 1, memory_order_relaxed);
    return true;
}

enum mailbox_put mailbox_put(struct mailbox *box, struct mail mail)
{
    enum mailbox_put result = MAILBOX_CLOSED;
    lock_take(&box->lock);
    if (put(box, mail))
        result = must_ring(box) ? MAILBOX_RING : MAILBOX_PUT;
    lock_give(&box->lock);
    return result;
}

bool mailbox_leave(struct mailbox *box, struct mail mail, const _Atomic bool *hurry)
{
    lock_take(&box->lock);
    bool open = put(box, mail);
    bool ring = open && atomic_load_explicit(hurry, memory_order_relaxed) && must_ring(box);
    lock_give(&box->lock);
    if (ring)
        mailbox_ring(box);
    return open;
}

void mailbox_ring(struct mailbox *box)
{
    bell_ring(&box->bell);
    atomic_fetch_sub_explicit(&box->ringing, 1, memory_order_release);
}

bool mailbox_post(struct mailbox *box, struct mail mail)
{
    enum mailbox_put result = mailbox_put(box, mail);
    if (result == MAILBOX_RING)
        mailbox_ring(box);
    return result != MAILBOX_CLOSED;
}

bool mailbox_take(struct mailbox *box, struct tray *tray)
{
    if (tray->at == tray->count) {
        tray->at = tray->count = 0;
        if (tray->cap > TRAY_KEPT) {
            tray_fini(tray);
        }
    }
    lock_take(&box->lock);
    box->asleep = false;
    if (tray->count == 0) {
        struct mail *mails = box->mails;
        size_t cap = box->cap;
        tray->count = box->count;
        box->mails = tray->mails;
        box->cap = tray->cap;
        tray->mails = mails;
        tray->cap = cap;
    } else if (box->count > 0) {
        if (tray->cap - tray->count < box->count)
            tray->mails = grown(tray->mails, &tray->cap, tray->count + box->count);
        memcpy(tray->mails + tray->count, box->mails, box->count * sizeof *box->mails);
        tray->count += box->count;
    }
    box->count = 0;
    lock_give(&box->lock);
    return tray->at < tray->count;
}

bool mailbox_sleep(struct mailbox *box)
{
    lock_take(&box->lock);
    /* A waiter may have come after the owner asked for waiters, because of mail that is done by
     * now: no post would wake the owner for its sake. */
    bool idle = box->count == 0 && !atomic_load_explicit(&box->waited_for, memory_order_relaxed);
    box->asleep = idle;
    lock_give(&box->lock);
    return idle;
}

void mailbox_done(struct mailbox *box, size_t weight)
{
    atomic_fetch_sub_explicit(&box->weight, weight, memory_order_relaxed);
}

bool mailbox_wait(struct mailbox *box, unsigned waiter, size_t limit)
{
    MUST(waiter < MAILBOX_WAITERS_MAX);
    lock_take(&box->lock);
    bool wait = !box->closed && mailbox_crowded(box, limit);
    if (wait) {
        box->waiters[waiter / 64] |= 1ULL << (waiter % 64);
        atomic_store_explicit(&box->waited_for, true, memory_order_relaxed);
    }
    lock_give(&box->lock);
    return wait;
}

bool mailbox_waiters(struct mailbox *box, uint64_t out[MAILBOX_WAITERS_MAX / 64])
{
    uint64_t any = 0;
    if (!atomic_load_explicit(&box->waited_for, memory_order_relaxed))
        return false;
    lock_take(&box->lock);
    atomic_store_explicit(&box->waited_for, false, memory_order_relaxed);
    for (size_t i = 0; i < MAILBOX_WAITERS_MAX / 64; i++) {
        any |= out[i] = box->waiters[i];
        box->waiters[i] = 0;
    }
    lock_give(&box->lock);
    return any != 0;
}

void tray_fini(struct tray *tray)
{
    free(tray->mails);
    *tray = (struct tray){0};
}
