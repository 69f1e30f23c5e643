#include "session/aside.h"

#include <stdlib.h>

#include "session/session.h"

struct aside *session_aside(struct session *s)
{
    struct aside *a = s->aside;
    if (a || !(a = malloc(sizeof *a)))
        return a;
    *a = (struct aside){.session = s, .pong_len = NO_PONG};
    list_init(&a->publishes);
    list_init(&a->commands);
    list_init(&a->resumable);
    s->aside = a;
    return a;
}

void session_tidy_aside(struct session *s)
{
    const struct aside *a = s->aside;
    if (a && a->pong_len == NO_PONG && list_empty(&a->publishes) && !s->parked && !a->current)
        session_forget_aside(s);
}

void session_forget_aside(struct session *s)
{
    if (s->aside)
        list_remove(&s->aside->resumable);
    free(s->aside);
    s->aside = NULL;
}
