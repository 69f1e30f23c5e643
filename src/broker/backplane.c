#include "broker/backplane.h"

static uint32_t found_weight(const struct errand *e)
{
    return e->found.len < UINT32_MAX ? (uint32_t)e->found.len : UINT32_MAX;
}

static void go_home(struct errand *e)
{
    struct mail mail = {.kind = MAIL_ERRAND, .weight = found_weight(e), .item = e};
    if (!mailbox_post(e->home, mail))
        e->lost(e);
}

void backplane_send(struct route *r, struct errand *e)
{
    struct mail mail = {.kind = MAIL_ERRAND, .weight = e->weight, .item = e};
    if (mailbox_post(r->backplane, mail))
        return;
    e->outcome = ERRAND_UNAVAILABLE;
    if (e->kind == ERRAND_PUBLISH || e->kind == ERRAND_EVENT)
        message_drop(e->message);
    go_home(e);
}

void backplane_return(struct errand *e, bool idle)
{
    struct mail mail = {.kind = MAIL_ERRAND, .weight = found_weight(e), .item = e};
    if (!idle)
        go_home(e);
    else if (!mailbox_leave(e->home, mail, &e->hurry))
        e->lost(e);
}
