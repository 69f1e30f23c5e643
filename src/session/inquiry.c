#include "session/inquiry.h"

#include <stdlib.h>

#include "base/die.h"
#include "session/worker.h"

bool inquiry_init(struct inquiry *q, const struct workshop *shop, struct mailbox *home)
{
    q->parts = calloc(shop->count, sizeof *q->parts);
    if (!q->parts)
        return false;
    q->count = shop->count;
    q->home = home;
    for (unsigned i = 0; i < q->count; i++) {
        q->parts[i].inquiry = q;
        list_init(&q->parts[i].node);
    }
    return true;
}

void inquiry_fini(struct inquiry *q)
{
    for (unsigned i = 0; i < q->count; i++)
        buf_fini(&q->parts[i].found);
    free(q->parts);
    q->parts = NULL;
    q->count = 0;
}

/* One worker less is waited for; the last one tells the asker. */
static void part_done(struct inquiry *q)
{
    struct mail mail = {.kind = MAIL_INQUIRY, .item = q};
    if (atomic_fetch_sub_explicit(&q->waiting, 1, memory_order_acq_rel) == 1)
        MUST(mailbox_post(q->home, mail));
}

void inquiry_ask(struct inquiry *q, const struct workshop *shop, const uint64_t *workers)
{
    struct mail mail = {.kind = MAIL_INQUIRY, .item = q};
    unsigned count = q->count; /* it may be done, and gone, behind the last part_done */
    atomic_store_explicit(&q->waiting, count + 1, memory_order_relaxed);
    for (unsigned i = 0; i < count; i++) {
        if (workers && !(workers[i / 64] & 1ULL << (i % 64))) {
            part_done(q);
        } else if (!mailbox_post(shop->route.boxes[i], mail)) {
            q->parts[i].lost = true;
            part_done(q);
        }
    }
    part_done(q);
}

void inquiry_finish(struct inquiry *q)
{
    q->done(q);
}

/* --- for the worker --------------------------------------------------------------------------- */

static void part_end(struct inquiry_part *part, bool lost)
{
    list_remove(&part->node);
    part->lost = lost;
    part_done(part->inquiry);
}

void worker_inquiry_begin(struct worker *w, struct inquiry *q)
{
    list_append(&w->inquiries, &q->parts[w->index].node);
}

bool worker_inquire(struct worker *w)
{
    if (list_empty(&w->inquiries))
        return true;
    struct inquiry_part *part = LIST_ITEM(w->inquiries.next, struct inquiry_part, node);
    if (part->inquiry->look(part->inquiry, w, part)) {
        part_end(part, false);
    } else { /* the others have their turn */
        list_remove(&part->node);
        list_append(&w->inquiries, &part->node);
    }
    return list_empty(&w->inquiries);
}

void worker_inquiries_lose(struct worker *w)
{
    while (!list_empty(&w->inquiries))
        part_end(LIST_ITEM(w->inquiries.next, struct inquiry_part, node), true);
}

void worker_inquiry_lose(struct worker *w, struct inquiry *q)
{
    part_end(&q->parts[w->index], true);
}
