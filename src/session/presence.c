/* Who is on a topic, and who comes and goes.
 *
 * Nothing is kept for it beside the subscriptions: a question goes to every worker with a
 * subscriber, and of far topics to the other brokers; each lists its own, and the last one sends
 * the answer back. A join or a leave is posted like a message, and only where somebody watches; of
 * far topics it goes to all brokers, for who watches may be anywhere. */
#include <stdlib.h>
#include <string.h>

#include "broker/backplane.h"
#include "broker/local.h"
#include "hermes/protocol.h"
#include "proto/reply2.h"
#include "session/answer.h"
#include "session/bearer.h"
#include "session/catch_up.h"
#include "session/waiting.h"
#include "session/worker.h"

/* What one worker has found. */
struct part {
    struct buf clients; /* uint64_t each */
};

struct presence {
    struct waiting asked;
    struct worker *asker;
    _Atomic unsigned waiting; /* workers that have not answered, the other brokers, and the asker
                               * while it asks */
    struct errand far;        /* to those; no home: it is not for them */
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
    buf_fini(&p->far.found);
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

static void append_clients(struct buf *rows, const struct buf *clients)
{
    rows->failed |= clients->failed;
    for (size_t at = 0; at < clients->len; at += sizeof(uint64_t)) {
        uint64_t client;
        memcpy(&client, clients->data + at, sizeof client);
        reply2_presence_row(rows, client);
    }
}

static void answer_presence(struct session *s, struct presence *p)
{
    struct buf rows = {0};
    for (unsigned i = 0; i < p->count; i++)
        append_clients(&rows, &p->parts[i].clients);
    append_clients(&rows, &p->far.found);
    rows.failed |= p->far.outcome == ERRAND_NO_MEMORY;
    struct buf *out = answer_begin_here(s);
    if (rows.failed)
        reply2_error(
            out, ERROR_UNAVAILABLE, TEXT(HERMES_TEXT_NO_CLIENTS), id_of(p), topic_of(p), TEXT(""));
    else if (p->far.outcome != ERRAND_DONE) /* half an answer would be a wrong one */
        reply2_error(
            out, ERROR_UNAVAILABLE, TEXT(HERMES_TEXT_ALONE), id_of(p), topic_of(p), TEXT(""));
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
    struct session *s = waiting_end(&p->asked);
    if (s)
        answer_presence(s, p);
    presence_free(p);
    return work;
}

/* --- the question ----------------------------------------------------------------------------- */

/* Back from the other brokers; or it never will be, since the worker has ended. */
static void far_done(struct errand *e)
{
    part_done(LIST_ITEM(e, struct presence, far));
}

static void ask_others(struct presence *p)
{
    struct errand *e = &p->far;
    atomic_fetch_add_explicit(&p->waiting, 1, memory_order_relaxed);
    *e = (struct errand){.kind = ERRAND_ASK,
        .home = &p->asker->box,
        .done = far_done,
        .lost = far_done,
        .hash = p->hash,
        .name = topic_of(p),
        .weight = (uint32_t)(sizeof *p + p->topic_len),
        .ask = ASK_PRESENCE};
    backplane_send(&p->asker->shop->route, e);
}

/* Asks the workers, and answers at once where there is nobody to be asked. */
static void ask(struct presence *p, const uint64_t *workers, bool far)
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
    if (far)
        ask_others(p);
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
    if (!session_may_wait(s) || !worker_may_list(w, s)) {
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
    waiting_begin(&p->asked, s, WAITING_PRESENCE);
    size_t work = audience.subscribers + (p->matches ? p->matches->count : 0);
    ask(p, audience.workers,
        route_is_far(route, rule.rule)); /* it may be answered, and gone, when this returns */
    worker_listed(w, s, work);
}

/* --- comings and goings ----------------------------------------------------------------------- */

/* To all brokers. */
struct far_event {
    struct errand errand;
    char topic[];
};

static void event_done(struct errand *e)
{
    free(LIST_ITEM(e, struct far_event, errand));
}

/* Takes the message. While the cluster thread is behind with publishes nothing is told: who watches
 * asks now and then anyway, for whoever is lost with a broker does not take leave either. */
static void tell_far(struct worker *w, uint64_t hash, struct text topic, struct message *m)
{
    struct route *route = &w->shop->route;
    bool crowded = mailbox_crowded(route->backplane, route->crowded);
    struct far_event *event = crowded ? NULL : calloc(1, sizeof *event + topic.len);
    if (!event) {
        message_drop(m);
        return;
    }
    memcpy(event->topic, topic.at, topic.len);
    event->errand = (struct errand){.kind = ERRAND_EVENT,
        .home = &w->box,
        .done = event_done,
        .lost = event_done,
        .hash = hash,
        .name = {event->topic, topic.len},
        .weight = (uint32_t)(sizeof *event + topic.len) + message_weight(m),
        .message = m};
    backplane_send(route, &event->errand);
}

void session_tell_presence(struct session *s, struct registry_topic *topic, bool joined)
{
    struct worker *w = s->worker;
    struct route *route = &w->shop->route;
    struct text name = registry_name(&route->registry, topic);
    if (!route->backplane && !route_watched(route, topic))
        return;
    struct route_rule rule = worker_rule(w, name);
    bool far = route_is_far(route, rule.rule);
    if (!rule.rule->presence || (!far && !route_watched(route, topic)))
        return;
    struct buf frame = {0};
    reply2_presence_event(&frame, joined, name, s->client);
    struct message *m = frame.failed ? NULL : message_begin(frame.len);
    if (m) {
        memcpy(m->frames, frame.data, frame.len);
        m->len = (uint32_t)frame.len;
        m->except = s->client;
        if (far)
            tell_far(w, topic->hash, name, m);
        else
            route_event(route, rule, topic->hash, name, m);
    }
    buf_fini(&frame);
}
