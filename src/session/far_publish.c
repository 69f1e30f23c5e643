#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "session/aside.h"
#include "session/far.h"
#include "session/parked.h"
#include "session/worker.h"

struct far_publish {
    struct errand errand;    /* its node: in the session's aside, if it has a session */
    struct worker *worker;   /* of the session, */
    struct session *session; /* which is NULL when it has ended, or nobody is to be answered */
    uint32_t count;
    bool quiet;
    bool back; /* and waits until those before it are */
    struct route_result result;
    size_t acks_len;
    char bytes[]; /* the topic, then the acks */
};

static struct far_publish *publish_of(struct errand *e)
{
    return LIST_ITEM(e, struct far_publish, errand);
}

static void lost(struct errand *e)
{
    free(publish_of(e));
}

static size_t size_of(const struct far_publish *p)
{
    return sizeof *p + p->errand.name.len + p->acks_len;
}

/* The oldest one of the session, if it is back. */
static struct far_publish *first_back(struct session *s)
{
    struct list *publishes = s->aside ? &s->aside->publishes : NULL;
    if (!publishes || list_empty(publishes))
        return NULL;
    struct far_publish *p = publish_of(LIST_ITEM(publishes->next, struct errand, node));
    return p->back ? p : NULL;
}

static void answer(struct session *s, struct far_publish *p)
{
    struct text topic = p->errand.name;
    struct text acks = {p->bytes + topic.len, p->acks_len};
    if (p->quiet && p->result.subscribers > 0 && session_subscription(s, topic, false))
        p->result.subscribers--;
    s->published = s->worker->deliveries + 1;
    session_answer_published(s, topic, p->count, &p->result, acks);
}

/* Somebody waits for that one and all before it. Those before one that is back have been hurried
 * when it came. */
static void hurry_up_to(struct session *s, struct list *last)
{
    for (struct list *at = last; at != &s->aside->publishes; at = at->prev) {
        struct far_publish *p = publish_of(LIST_ITEM(at, struct errand, node));
        if (p->back)
            break;
        atomic_store_explicit(&p->errand.hurry, true, memory_order_relaxed);
    }
    mailbox_take(&s->worker->box, &s->worker->tray);
}

/* They come back in the order of their topics' servers and channels; the answers go in the order in
 * which they were published. */
static void done(struct errand *e)
{
    struct far_publish *p = publish_of(e);
    struct session *s = p->session;
    bool failed = e->outcome != ERRAND_DONE;
    if (!s || (!failed && p->acks_len == 0)) {
        list_remove(&e->node);
        free(p);
    } else {
        p->back = true;
        p->result = (struct route_result){.offset = e->offset,
            .epoch = e->epoch,
            .subscribers = e->subscribers,
            .failed = failed};
        session_keep(s, size_of(p));
        if (!first_back(s))
            hurry_up_to(s, p->errand.node.prev);
    }
    while (s && (p = first_back(s)) != NULL) {
        list_remove(&p->errand.node);
        session_keep_less(s, size_of(p));
        answer(s, p);
        free(p);
    }
    if (s && s->parked && !session_publishes_far(s))
        session_published_far(s);
    if (s)
        session_tidy_aside(s);
}

bool far_publish(struct worker *w, const struct publishing *wanted)
{
    struct session *s = wanted->session;
    struct route *route = &w->shop->route;
    struct text topic = wanted->topic, acks = wanted->acks;
    struct aside *aside = s ? session_aside(s) : NULL;
    struct far_publish *p = s && !aside ? NULL : malloc(sizeof *p + topic.len + acks.len);
    if (!p) {
        message_drop(wanted->message);
        return false;
    }
    *p = (struct far_publish){.worker = w,
        .session = s,
        .count = wanted->message->count,
        .quiet = wanted->quiet,
        .acks_len = acks.len,
        .errand = {.kind = ERRAND_PUBLISH,
            .home = &w->box,
            .done = done,
            .lost = lost,
            .hash = wanted->hash,
            .name = {p->bytes, topic.len},
            .weight =
                (uint32_t)(sizeof *p + topic.len + acks.len) + message_weight(wanted->message),
            .message = wanted->message,
            .limits = wanted->rule.rule->history,
            .counted = acks.len > 0}};
    memcpy(p->bytes, topic.at, topic.len);
    if (acks.len > 0)
        memcpy(p->bytes + topic.len, acks.at, acks.len);
    list_init(&p->errand.node);
    if (s)
        list_append(&aside->publishes, &p->errand.node);
    backplane_send(route, &p->errand);
    if (s && mailbox_crowded(route->backplane, route->crowded))
        worker_pause(w, s, WORKER_BACKPLANE);
    return true;
}

void session_hurry_far(struct session *s)
{
    hurry_up_to(s, s->aside->publishes.prev);
}

bool session_publishes_far(const struct session *s)
{
    return s->aside && !list_empty(&s->aside->publishes);
}

void session_forget_far(struct session *s)
{
    struct list *publishes = s->aside ? &s->aside->publishes : NULL;
    if (!publishes)
        return;
    for (struct list *at = publishes->next, *next; at != publishes; at = next) {
        struct far_publish *p = publish_of(LIST_ITEM(at, struct errand, node));
        next = at->next;
        list_remove(at);
        p->session = NULL;
        if (p->back) {
            session_keep_less(s, size_of(p));
            free(p);
        }
    }
}
