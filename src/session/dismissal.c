#include "session/dismissal.h"

#include <stdlib.h>
#include <string.h>

#include "session/bearer.h"
#include "session/worker.h"

static bool is_meant(const struct dismissal *d, const struct session *s)
{
    if (s->state != SESSION_OPEN)
        return false;
    if (!d->user.at)
        return s->client == d->client;
    return s->bearer && text_equal(s->bearer->claims->user, d->user);
}

static void look_at(void *item, void *user)
{
    struct session *s = item;
    struct inquiry_part *part = user;
    const struct dismissal *d = LIST_ITEM(part->inquiry, struct dismissal, inquiry);
    if (!is_meant(d, s))
        return;
    session_dismiss(s, d->code, d->reason);
    part->count++;
}

static bool look(struct inquiry *q, struct worker *w, struct inquiry_part *part)
{
    const struct dismissal *d = LIST_ITEM(q, struct dismissal, inquiry);
    bool found = !d->user.at && part->count > 0; /* there is no other */
    return found || !slab_step(&w->sessions, &part->cursor, look_at, part);
}

static void done(struct inquiry *q)
{
    struct dismissal *d = LIST_ITEM(q, struct dismissal, inquiry);
    for (unsigned i = 0; i < q->count; i++) {
        d->count += q->parts[i].count;
        d->ending |= q->parts[i].lost;
    }
    d->done(d, d->context);
}

struct dismissal *dismissal_new(const struct workshop *shop, struct mailbox *home, uint64_t client,
    struct text user, int code, struct text reason)
{
    struct dismissal *d = calloc(1, sizeof *d + user.len);
    if (!d)
        return NULL;
    if (!inquiry_init(&d->inquiry, shop, home)) {
        free(d);
        return NULL;
    }
    d->inquiry.look = look;
    d->inquiry.done = done;
    d->client = client;
    d->code = code;
    if (reason.len > 0)
        memcpy(d->reason, reason.at, reason.len);
    if (user.at) {
        char *copy = (char *)(d + 1);
        memcpy(copy, user.at, user.len);
        d->user = (struct text){copy, user.len};
    }
    return d;
}

void dismissal_free(struct dismissal *d)
{
    inquiry_fini(&d->inquiry);
    free(d);
}
