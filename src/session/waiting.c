#include "session/waiting.h"

#include "session/worker.h"

enum { WAITING_MAX = 16 }; /* of one session */

bool session_may_wait(const struct session *s)
{
    return s->asking < WAITING_MAX;
}

void waiting_begin(struct waiting *w, struct session *s, enum waiting_kind kind)
{
    w->session = s;
    w->kind = kind;
    list_init(&w->node);
    list_append(&s->worker->waiting, &w->node);
    s->asking++;
}

struct session *waiting_end(struct waiting *w)
{
    struct session *s = w->session;
    if (!s)
        return NULL;
    s->asking--;
    w->session = NULL;
    list_remove(&w->node);
    return s->state == SESSION_OPEN ? s : NULL;
}

struct waiting *waiting_first(const struct session *s, enum waiting_kind kind)
{
    const struct list *all = &s->worker->waiting;
    for (struct list *at = all->next; s->asking > 0 && at != all; at = at->next) {
        struct waiting *w = LIST_ITEM(at, struct waiting, node);
        if (w->session == s && w->kind == kind)
            return w;
    }
    return NULL;
}

void session_forget_waiting(struct session *s)
{
    struct list *all = &s->worker->waiting;
    for (struct list *at = all->next, *next; s->asking > 0 && at != all; at = next) {
        struct waiting *w = LIST_ITEM(at, struct waiting, node);
        next = at->next;
        if (w->session != s)
            continue;
        (void)waiting_end(w);
        if (w->forgotten)
            w->forgotten(w);
    }
}
