#include "session/facts.h"

#include <stdlib.h>

#include "session/catch_up.h"
#include "session/session.h"
#include "session/worker.h"

bool facts_init(struct facts *f)
{
    *f = (struct facts){.subscriptions = {.list = calloc(FACTS_KEPT, sizeof(struct fact))},
        .losses = {.list = calloc(FACTS_KEPT, sizeof(struct fact))}};
    if (f->subscriptions.list && f->losses.list)
        return true;
    facts_fini(f);
    return false;
}

void facts_fini(struct facts *f)
{
    free(f->subscriptions.list);
    free(f->losses.list);
    *f = (struct facts){.subscriptions = {NULL, 0}};
}

static bool goes_on(const struct fact *before, const struct fact *fact)
{
    return fact->kind < FACT_REFUSED && before->kind == fact->kind && before->why == fact->why &&
           before->client == fact->client && before->hash == fact->hash &&
           before->epoch == fact->epoch && before->offset + before->count == fact->offset &&
           before->count <= UINT32_MAX - fact->count;
}

void facts_add(struct facts *f, struct fact fact)
{
    struct fact_row *row = fact.kind >= FACT_DROPPED ? &f->losses : &f->subscriptions;
    struct fact *before = &row->list[(row->count - 1) % FACTS_KEPT];
    if (row == &f->losses && row->count > 0 && goes_on(before, &fact)) {
        before->count += fact.count;
        before->ms = fact.ms;
        return;
    }
    row->list[row->count++ % FACTS_KEPT] = fact;
}

/* --- what sessions note ----------------------------------------------------------------------- */

static struct fact about(const struct session *s, enum fact_kind kind, uint64_t hash)
{
    return (struct fact){.client = s->client,
        .hash = hash,
        .ms = uv_now(&s->worker->loop) & ((UINT64_C(1) << 45) - 1),
        .enveloped = s->enveloped,
        .kind = (uint64_t)kind & 0xff};
}

static struct fact about_local(
    const struct session *s, enum fact_kind kind, const struct local_topic *local)
{
    struct fact fact = about(s, kind, local->hash);
    fact.is_pattern = local->is_pattern;
    if (!local->is_pattern) {
        fact.epoch = (uint32_t)local->registered->epoch;
        fact.offset = local->delivered;
    }
    return fact;
}

static uint32_t at_most(uint64_t count)
{
    return count < UINT32_MAX ? (uint32_t)count : UINT32_MAX;
}

void session_note_joined(
    struct session *s, struct local_key key, enum policy policy, const struct route_joined *joined)
{
    struct fact fact = about(s, FACT_SUBSCRIBED, key.hash);
    fact.is_pattern = key.is_pattern;
    fact.why = (uint64_t)policy & 0xff;
    if (joined) {
        const struct history_view *view = &joined->past; /* at level 1 all of it is 0 */
        bool past = view->first > 0 && view->first <= view->last;
        fact.epoch = (uint32_t)joined->epoch;
        fact.offset = past ? view->first : joined->offset + 1;
        fact.count = at_most(joined->offset + 1 - fact.offset);
    }
    facts_add(&s->worker->facts, fact);
}

void session_note_left(struct session *s, const struct local_topic *local)
{
    facts_add(&s->worker->facts, about_local(s, FACT_LEFT, local));
}

static struct fact about_catch_up(
    const struct session *s, enum fact_kind kind, const struct catch_up *c)
{
    struct catch_up_place place = catch_up_place(c);
    struct fact fact = about(s, kind, place.topic->hash);
    fact.epoch = (uint32_t)place.topic->epoch;
    fact.offset = place.next - 1;
    fact.apart = true;
    return fact;
}

void session_note_given_up(struct session *s, const struct catch_up *c)
{
    facts_add(&s->worker->facts, about_catch_up(s, FACT_LEFT, c));
}

void session_note_closed(struct session *s, uint8_t reason, uint64_t lost)
{
    struct facts *facts = &s->worker->facts;
    unsigned room = FACTS_CLOSED_MOST;
    uint32_t at = 0;
    const struct subscription *subscription;
    struct fact fact;
    while (room > 0 && (subscription = subscriber_next(&s->subscriber, &at)) != NULL) {
        fact = about_local(s, FACT_CLOSED, subscription->topic);
        fact.why = reason;
        fact.count = at_most(lost);
        facts_add(facts, fact);
        room--;
    }
    for (const struct catch_up *c = s->catch_ups; c && room > 0; c = catch_up_next(c)) {
        fact = about_catch_up(s, FACT_CLOSED, c);
        fact.why = reason;
        fact.count = at_most(lost);
        facts_add(facts, fact);
        room--;
    }
    uint32_t all = s->subscriber.count + s->catching;
    if (all <= FACTS_CLOSED_MOST && (all > 0 || lost == 0))
        return;
    fact = about(s, FACT_CLOSED_ALL, 0);
    fact.why = reason;
    fact.count = at_most(lost);
    facts_add(facts, fact);
}

void session_note_loss(struct session *s, const struct fact_loss *loss)
{
    struct fact fact = about(s, loss->kind, loss->hash);
    fact.why = loss->why;
    fact.epoch = (uint32_t)loss->epoch;
    fact.offset = loss->from;
    fact.count = at_most(loss->to + 1 - loss->from);
    facts_add(&s->worker->facts, fact);
}

void session_note_refused(
    struct session *s, struct text name, bool is_pattern, enum error_code code)
{
    struct fact fact =
        about(s, FACT_REFUSED, registry_hash(&s->worker->shop->route.registry, name));
    fact.is_pattern = is_pattern;
    fact.why = (uint64_t)code & 0xff;
    facts_add(&s->worker->facts, fact);
}
