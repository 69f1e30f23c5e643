/* Who is on a topic, and who comes and goes.
 *
 * Nothing is kept for it beside the subscriptions: a question goes to every worker with a
 * subscriber, each lists its own, and the last one sends the answer back. A join or a leave is
 * posted like a message, and only where somebody watches. */
#include <stdlib.h>
#include <string.h>

#include "broker/local.h"
#include "hermes/protocol.h"
#include "proto/reply2.h"
#include "session/answer.h"
#include "session/bearer.h"
#include "session/catch_up.h"
#include "session/worker.h"

enum { ASKING_MAX = 16 }; /* questions of one session that are not answered yet */

/* What one worker has found. */
struct part {
    struct buf clients; /* uint64_t each */
};

struct presence {
    struct list asked;       /* in the asking worker's list while its session waits */
    struct session *session; /* NULL: it waits no more */
    struct worker *asker;
    _Atomic unsigned waiting; /* workers that have not answered, and the asker while it asks */
    uint64_t hash;
    struct match_set *matches; /* held, or NULL */
    char *texts;               /* the topic, and behind it the command's id */
    size_t topic_len;
    size_t id_len;
    size_t subscribers; /* on all workers, about */
    unsigned count;
    struct part parts[]; /* one a worker, written by that one alone */
};

static struct text topic_of(const struct presence *p)
{
    return (struct text){p->texts, p->topic_len};
}

static struct text id_of(const struct presence *p)
{
    return (struct text){p->texts + p->topic_len, p->id_len};
}

static void presence_free(struct presence *p)
{
    for (unsigned i = 0; i < p->count; i++)
        buf_fini(&p->parts[i].clients);
    match_set_drop(p->matches);
    free(p->texts);
    free(p);
}

static struct presence *presence_new(struct session *s, const struct command *c)
{
    unsigned count = s->worker->shop->count;
    struct presence *p = calloc(1, sizeof *p + count * sizeof p->parts[0]);
    if (!p)
        return NULL;
    p->texts = malloc(c->topic.len + c->id.len);
    if (!p->texts) {
        free(p);
        return NULL;
    }
    list_init(&p->asked);
    p->session = s;
    p->asker = s->worker;
    p->count = count;
    p->topic_len = c->topic.len;
    p->id_len = c->id.len;
    memcpy(p->texts, c->topic.at, c->topic.len);
    if (c->id.len)
        memcpy(p->texts + c->topic.len, c->id.at, c->id.len);
    return p;
}

/* --- a worker's part -------------------------------------------------------------------------- */

static void list_places(struct worker *w, struct local_topic *local, struct buf *clients)
{
    struct place *places = local_places(local);
    for (uint32_t i = 0; i < local->count; i++) {
        struct session *s = session_of(places[i].subscriber);
        if (s->reached == w->choosing)
            continue;
        s->reached = w->choosing;
        buf_append(clients, &s->client, sizeof s->client);
    }
}

void worker_list_clients(struct worker *w, uint64_t hash, struct text topic,
    const struct match_set *matches, struct buf *clients)
{
    const struct registry *registry = &w->shop->route.registry;
    struct local_topic *local = local_find_named(&w->topics, registry, hash, topic);
    w->choosing++;
    if (local)
        list_places(w, local, clients);
    catch_up_list(w, topic, clients);
    for (uint32_t i = 0; matches && i < matches->count; i++) {
        const struct pattern *pattern = matches->patterns[i];
        local = local_find(&w->topics, pattern->hash, pattern);
        if (local)
            list_places(w, local, clients);
    }
}

/* One answer less is waited for; the last one's giver sends it on. */
static void part_done(struct presence *p)
{
    struct mail mail = {.kind = MAIL_PRESENCE, .item = p};
    if (atomic_fetch_sub_explicit(&p->waiting, 1, memory_order_acq_rel) > 1)
        return;
    if (!mailbox_post(&p->asker->box, mail))
        presence_free(p); /* the asker has ended, and its sessions before it */
}

void presence_abandon(struct presence *p)
{
    if (atomic_load_explicit(&p->waiting, memory_order_acquire) == 0 ||
        atomic_fetch_sub_explicit(&p->waiting, 1, memory_order_acq_rel) == 1)
        presence_free(p);
}

/* --- the answer ------------------------------------------------------------------------------- */

static void answer_presence(struct session *s, struct presence *p)
{
    struct buf rows = {0};
    for (unsigned i = 0; i < p->count; i++) {
        const struct buf *clients = &p->parts[i].clients;
        rows.failed |= clients->failed;
        for (size_t at = 0; at < clients->len; at += sizeof(uint64_t)) {
            uint64_t client;
            memcpy(&client, clients->data + at, sizeof client);
            reply2_presence_row(&rows, client);
        }
    }
    struct buf *out = answer_begin_here(s);
    if (rows.failed)
        reply2_error(
            out, ERROR_UNAVAILABLE, TEXT(HERMES_TEXT_NO_CLIENTS), id_of(p), topic_of(p), TEXT(""));
    else
        reply2_presence(out, id_of(p), topic_of(p), buf_text(&rows));
    buf_fini(&rows);
    answer_send(s);
}

size_t worker_presence(struct worker *w, struct presence *p)
{
    size_t work =
        p->subscribers + (p->matches ? p->matches->count : 0); /* it goes with the last part */
    if (atomic_load_explicit(&p->waiting, memory_order_acquire) > 0) {
        worker_list_clients(w, p->hash, topic_of(p), p->matches, &p->parts[w->index].clients);
        part_done(p);
        return work;
    }
    if (p->session) {
        p->session->asking--;
        list_remove(&p->asked);
        if (p->session->state == SESSION_OPEN)
            answer_presence(p->session, p);
    }
    presence_free(p);
    return work;
}

void session_forget_presence(struct session *s)
{
    struct list *asked = &s->worker->asked;
    if (s->asking == 0)
        return;
    for (struct list *at = asked->next, *next; at != asked; at = next) {
        struct presence *p = LIST_ITEM(at, struct presence, asked);
        next = at->next;
        if (p->session != s)
            continue;
        s->asking--;
        p->session = NULL;
        list_remove(&p->asked);
    }
}

/* --- the question ----------------------------------------------------------------------------- */

/* Asks the workers, and answers at once where there are none to be asked. */
static void ask(struct presence *p, const uint64_t *workers)
{
    struct mail mail = {.kind = MAIL_PRESENCE, .item = p};
    struct mailbox **boxes = p->asker->shop->route.boxes;
    unsigned count = p->count;
    atomic_store_explicit(&p->waiting, 1, memory_order_relaxed);
    for (unsigned i = 0; i < count; i++) {
        if (!(workers[i / 64] & 1ULL << (i % 64)))
            continue;
        atomic_fetch_add_explicit(&p->waiting, 1, memory_order_relaxed);
        if (!mailbox_post(boxes[i], mail))
            atomic_fetch_sub_explicit(&p->waiting, 1, memory_order_relaxed);
    }
    part_done(p);
}

void session_ask_presence(struct session *s, const struct command *c)
{
    struct worker *w = s->worker;
    struct route *route = &w->shop->route;
    struct route_audience audience;
    struct fault fault = {.code = ERROR_FORBIDDEN,
        .message = TEXT(HERMES_TEXT_NO_PRESENCE),
        .id = c->id,
        .topic = c->topic};
    if (!answer_topic_allowed(s, c->id, c->topic))
        return;
    struct route_rule rule = worker_rule(w, c->topic);
    if (!rule.rule->presence || !session_may_see(s) ||
        !session_may(s, GRANT_SUBSCRIBE, rule.rule, c->topic)) {
        metric_add(&w->metrics, METRIC_forbidden_total, 1);
        answer_error(s, &fault);
        return;
    }
    if (s->asking >= ASKING_MAX || !worker_may_list(w, s)) {
        fault.code = ERROR_RATE_LIMITED;
        fault.message = TEXT(HERMES_TEXT_LISTINGS);
        answer_error(s, &fault);
        return;
    }
    struct presence *p = presence_new(s, c);
    if (p)
        p->hash = registry_hash(&route->registry, c->topic);
    if (!p || !route_audience(route, rule, p->hash, c->topic, &audience)) {
        if (p)
            presence_free(p);
        fault.code = ERROR_UNAVAILABLE;
        fault.message = TEXT(HERMES_TEXT_NO_CLIENTS);
        answer_error(s, &fault);
        return;
    }
    p->matches = audience.matches;
    p->subscribers = audience.subscribers;
    list_append(&w->asked, &p->asked);
    s->asking++;
    size_t work = audience.subscribers + (p->matches ? p->matches->count : 0);
    ask(p, audience.workers); /* it may be answered, and gone, when this returns */
    worker_listed(w, s, work);
}

/* --- comings and goings ----------------------------------------------------------------------- */

void session_tell_presence(struct session *s, struct registry_topic *topic, bool joined)
{
    struct worker *w = s->worker;
    struct route *route = &w->shop->route;
    struct text name = registry_name(&route->registry, topic);
    if (!route_watched(route, topic))
        return;
    struct route_rule rule = worker_rule(w, name);
    if (!rule.rule->presence)
        return;
    struct buf frame = {0};
    reply2_presence_event(&frame, joined, name, s->client);
    struct message *m = frame.failed ? NULL : message_begin(frame.len);
    if (m) {
        memcpy(m->frames, frame.data, frame.len);
        m->len = (uint32_t)frame.len;
        m->except = s->client;
        route_event(route, rule, topic->hash, name, m);
    }
    buf_fini(&frame);
}
