/* What is kept of far topics: here, as a cache from when the topic became live, and in Redis. */
#include "broker/relay.h"
#include "proto/command.h"
#include "proto/reply2.h"
#include "session/catch_up.h"
#include "session/far.h"
#include "session/parked.h"
#include "session/worker.h"

/* PIECE: bytes fetched at once, HISTORY: for one answer. */
enum { PIECE = 256 * 1024, HISTORY = 1 << 20 };

static struct route_past asked(const struct session *s, const struct command *c)
{
    struct route_past past = session_past(c);
    if (c->kind == COMMAND_HISTORY)
        past.newest = c->limit;
    return s->enveloped ? past : (struct route_past){0};
}

static bool is_subscribed(
    struct session *s, const struct command *c, struct text topic, bool *watches)
{
    const struct subscription *subscription = session_subscription(s, topic, false);
    *watches = c->presence && s->enveloped && !(subscription && subscription->watches);
    return subscription || catch_up_is_under_way(s, topic);
}

bool far_lacks(struct session *s, const struct command *c, struct text topic, uint64_t hash,
    struct route_rule rule, enum errand_kind *kind)
{
    struct route *route = &s->worker->shop->route;
    struct relay_place place;
    bool watches = false;
    if (!route_is_far(route, rule.rule))
        return false;
    bool history = c->kind == COMMAND_HISTORY;
    bool subscribed = !history && is_subscribed(s, c, topic, &watches);
    *kind = ERRAND_FOLLOW;
    if (watches)
        return true;
    if (subscribed)
        return false;
    if (!route_place(route, hash, topic, &place)) {
        if (history && !c->has_since)
            *kind = ERRAND_FETCH;
        return !history || rule.rule->history.messages > 0;
    }
    *kind = ERRAND_FETCH;
    return far_lacks_past(s, c, topic, hash, rule);
}

bool far_lacks_past(struct session *s, const struct command *c, struct text topic, uint64_t hash,
    struct route_rule rule)
{
    struct route_past past = asked(s, c);
    uint64_t most = rule.rule->history.messages;
    bool watches;
    if (!past.since && past.newest == 0)
        return false;
    if (c->kind != COMMAND_HISTORY && is_subscribed(s, c, topic, &watches))
        return false;
    struct route_state state =
        route_history(&s->worker->shop->route, rule, hash, topic, &past, UINT32_MAX);
    uint64_t have = state.past.last + 1 - state.past.first;
    history_view_fini(&state.past);
    if (past.since && past.epoch == state.epoch) /* who was ahead has seen another broker's */
        return past.offset > state.offset || (most > 0 && !state.recovered);
    if (past.since && c->kind != COMMAND_HISTORY)
        return false;
    uint64_t wanted = most < state.offset ? most : state.offset;
    if (!past.since && past.newest < wanted)
        wanted = past.newest;
    return have < wanted;
}

void far_fetch(struct errand *e, struct session *s, const struct command *c, struct route_rule rule)
{
    struct relay_place place = {0};
    struct route_past past = asked(s, c);
    bool live = route_place(&s->worker->shop->route, e->hash, e->name, &place);
    bool history = c->kind == COMMAND_HISTORY;
    if (past.since)
        e->from = !live || past.epoch == place.epoch ? past.offset + 1 : 1;
    else if (!history) /* the view ends with what is the newest by then */
        e->from = place.offset > past.newest ? place.offset + 1 - past.newest : 1;
    e->most = history ? c->limit : UINT32_MAX;
    e->bytes = history ? HISTORY : PIECE;
    far_fetch_limits(e, rule);
}

void far_fetch_limits(struct errand *e, struct route_rule rule)
{
    e->age_us = rule.rule->history.age_us;
    e->retain = rule.rule->history.retain;
}

bool far_recovered(const struct errand *e, uint64_t epoch, uint64_t offset)
{
    return epoch == e->epoch && offset <= e->offset &&
           (offset == e->offset || (e->count > 0 && e->first <= offset + 1));
}

bool far_resume(const struct wish *wish, struct route_joined *joined)
{
    const struct errand *e = wish->fetched;
    const struct route_past *past = wish->past;
    if (!e || e->epoch != joined->epoch)
        return false;
    if (past->since ? !far_recovered(e, past->epoch, past->offset) : e->count == 0)
        return false;
    uint64_t next = past->since ? past->offset + 1 : e->first;
    history_view_fini(&joined->past);
    joined->past = (struct history_view){.first = next, .last = next};
    joined->recovered = past->since;
    return true;
}
