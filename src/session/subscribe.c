/* The commands subscribe and unsubscribe, and what a new subscriber is given of the past. */
#include "base/clock.h"
#include "hermes/protocol.h"
#include "proto/reply.h"
#include "session/answer.h"
#include "session/bearer.h"
#include "session/catch_up.h"
#include "session/parked.h"
#include "session/sse.h"
#include "session/worker.h"

enum { REPLAY_PIECE = 64 * 1024 }; /* bytes of frames that are encoded before they go to the log */

/* Sends what is in the view. */
static void replay(struct session *s, struct text topic, uint64_t epoch, struct history_view *view)
{
    struct worker *w = s->worker;
    struct buf *out = &w->enveloped;
    uint64_t offset;
    struct text data;
    envelope_set(&w->envelope, topic, TEXT(""));
    buf_clear(out);
    while (!out->failed && history_view_next(view, &offset, &data)) {
        envelope_append(out, &w->envelope, data, offset);
        if (out->len >= REPLAY_PIECE) {
            session_send_past(s, buf_text(out), epoch);
            buf_clear(out);
        }
    }
    if (out->failed)
        session_close(s, CLOSE_NO_MEMORY);
    else if (out->len > 0)
        session_send_past(s, buf_text(out), epoch);
    worker_relieve(w);
}

/* --- subscribe -------------------------------------------------------------------------------- */

static enum policy policy_of(const struct session *s, const struct command *c, enum policy rule)
{
    if (!s->enveloped || s->conn.unframed)
        return POLICY_DISCONNECT; /* nobody could tell it of a gap in the midst of its queue */
    switch (c->policy) {
    case COMMAND_DISCONNECT:
        return POLICY_DISCONNECT;
    case COMMAND_DROP_OLDEST:
        return POLICY_DROP_OLDEST;
    case COMMAND_LATEST:
        return POLICY_LATEST;
    default:
        return rule;
    }
}

struct route_past session_past(const struct command *c)
{
    struct route_past past = {.since = c->has_since, .offset = c->since, .newest = c->replay};
    if (c->has_since)
        past.epoch = epoch_read(c->epoch);
    return past;
}

/* Why it was not joined. */
static void answer_not_joined(
    struct session *s, enum join_result result, const struct command *c, const struct wish *wish)
{
    struct fault fault = {.id = c->id};
    *(wish->is_pattern ? &fault.pattern : &fault.topic) = wish->name;
    if (result == JOIN_TOO_MANY) {
        metric_add(&s->worker->metrics, METRIC_limit_subscriptions_total, 1);
        fault.code = ERROR_TOO_MANY_SUBSCRIPTIONS;
        fault.message = TEXT(HERMES_TEXT_SUBSCRIPTIONS);
    } else {
        fault.code = ERROR_UNAVAILABLE;
        fault.message =
            result == JOIN_ABSENT ? TEXT(HERMES_TEXT_ALONE) : TEXT(HERMES_TEXT_NO_SUBSCRIPTION);
    }
    session_note_refused(s, wish->name, wish->is_pattern, fault.code);
    answer_error(s, &fault);
    /* Nobody can ask for it again on that stream. */
    if (s->conn.unframed && s->state == SESSION_OPEN)
        session_close(s, result == JOIN_ABSENT ? CLOSE_ALONE : CLOSE_NO_MEMORY);
}

static void answer_joined(struct session *s, const struct command *c, const struct wish *wish,
    struct route_joined *joined, bool later)
{
    struct buf *out = answer_begin_here(s); /* mail that came since is behind the answer */
    enum recovered recovered = RECOVERED_UNASKED;
    if (!s->enveloped) {
        reply_subscribed(out, wish->name);
        answer_send(s);
        return;
    }
    if (c->has_since)
        recovered = joined->recovered ? RECOVERED_YES : RECOVERED_NO;
    if (s->conn.unframed)
        sse_send_position(s, joined);
    uint64_t offset = joined->offset;
    if (later && joined->past.first > offset) /* it has been further on another broker */
        offset = joined->past.first - 1;
    reply2_subscribed(out, c->id, wish->name, joined->epoch, offset, recovered);
    answer_send(s);
    if (!later && s->state == SESSION_OPEN)
        replay(s, wish->name, joined->epoch, &joined->past);
}

/* Who is subscribed has got or will get everything: what it has missed before is not known here, so
 * nothing is replayed. */
static void answer_again(struct session *s, const struct command *c, const struct wish *wish)
{
    if (s->conn.unframed)
        return; /* its request names it twice */
    struct worker *w = s->worker;
    struct route *route = &w->shop->route;
    struct subscription *subscription = session_subscription(s, wish->name, false);
    if (!subscription)
        catch_up_change(s, wish, c->policy != COMMAND_POLICY_NONE);
    else
        session_change(s, subscription, c->policy ? wish->policy : subscription->policy,
            subscription->watches || wish->watches);
    if (!s->enveloped) {
        reply_subscribed(answer_begin(s), wish->name);
        answer_send(s);
        return;
    }
    uint64_t hash = registry_hash(&route->registry, wish->name);
    struct route_joined now = route_again(route, w->index, &w->tray, hash, wish->name);
    worker_deliver(w); /* what was numbered by now comes before the answer */
    enum recovered recovered = RECOVERED_UNASKED;
    if (wish->past && wish->past->since) {
        bool all = wish->past->epoch == now.epoch && wish->past->offset == now.offset;
        recovered = all ? RECOVERED_YES : RECOVERED_NO;
    }
    reply2_subscribed(answer_begin_here(s), c->id, wish->name, now.epoch, now.offset, recovered);
    answer_send(s);
}

static bool may_subscribe(
    struct session *s, const struct command *c, struct text topic, const struct rule *rule)
{
    struct fault fault = {.code = ERROR_FORBIDDEN, .id = c->id, .topic = topic};
    if (!session_may(s, GRANT_SUBSCRIBE, rule, topic))
        fault.message = TEXT(HERMES_TEXT_MAY_NOT_SUBSCRIBE);
    else if (c->presence && (!rule->presence || !session_may_see(s)))
        fault.message = TEXT(HERMES_TEXT_NO_PRESENCE);
    else
        return true;
    metric_add(&s->worker->metrics, METRIC_forbidden_total, 1);
    session_note_refused(s, topic, false, fault.code);
    answer_error(s, &fault);
    return false;
}

/* Topics whose names are good, from the one at `at` on. */
struct names {
    const struct text *list;
    size_t at;
    size_t count;
};

/* The rest waits, from here on, for an errand of that kind; or is not to wait any more. False when
 * no others should be tried. */
static bool wait_for(struct session *s, const struct command *c, const struct names *names,
    const struct wish *wish, enum errand_kind kind)
{
    if (session_waited_enough(s)) {
        answer_not_joined(s, JOIN_ABSENT, c, wish);
        return s->state == SESSION_OPEN;
    }
    session_wait(s, c, names->list + names->at, names->count - names->at, kind);
    return false;
}

/* What has to be there before a far topic can be joined: true when it is not, and by which errand
 * it comes. */
static bool lacks(struct session *s, const struct command *c, const struct wish *wish,
    const struct far_wait *waited, enum errand_kind *kind)
{
    uint64_t hash = registry_hash(&s->worker->shop->route.registry, wish->name);
    *kind = ERRAND_FETCH;
    if (!waited)
        return far_lacks(s, c, wish->name, hash, wish->rule, kind);
    return waited->errand.kind == ERRAND_FOLLOW &&
           far_lacks_past(s, c, wish->name, hash, wish->rule);
}

/* False when no others should be tried: the rest waits, or the session has ended. */
static bool subscribe_topic(struct session *s, const struct command *c, const struct names *names)
{
    struct text topic = names->list[names->at];
    struct route_rule rule = worker_rule(s->worker, topic);
    struct route_past past = session_past(c);
    struct wish wish = {.name = topic,
        .watches = c->presence && s->enveloped,
        .policy = policy_of(s, c, rule.rule->policy),
        .rule = rule,
        .past = s->enveloped ? &past : NULL};
    struct route_joined joined;
    enum errand_kind kind = ERRAND_FOLLOW;
    if (!may_subscribe(s, c, topic, rule.rule))
        return s->state == SESSION_OPEN;
    /* Nothing is asked of the cluster that is refused here. */
    if (route_is_far(&s->worker->shop->route, rule.rule) && !session_is_full_for(s, topic, false)) {
        struct far_wait *waited = session_waited(s, (uint32_t)names->at);
        if (waited && waited->errand.outcome != ERRAND_DONE) {
            answer_not_joined(s, JOIN_ABSENT, c, &wish);
            return s->state == SESSION_OPEN;
        }
        if (lacks(s, c, &wish, waited, &kind))
            return wait_for(s, c, names, &wish, kind);
        if (waited && waited->errand.kind == ERRAND_FETCH)
            wish.fetched = &waited->errand;
    }
    enum join_result result = session_join(s, &wish, &joined);
    switch (result) {
    case JOIN_OK:
    case JOIN_LATER:
        answer_joined(s, c, &wish, &joined, result == JOIN_LATER);
        history_view_fini(&joined.past);
        break;
    case JOIN_ALREADY:
    case JOIN_UNDER_WAY:
        answer_again(s, c, &wish);
        break;
    case JOIN_TOO_MANY:
    case JOIN_NO_MEMORY:
        answer_not_joined(s, result, c, &wish);
        break;
    case JOIN_ABSENT: /* it was live a moment ago */
        return wait_for(s, c, names, &wish, ERRAND_FOLLOW);
    case JOIN_ENDED:
        break;
    }
    return s->state == SESSION_OPEN;
}

static bool may_subscribe_pattern(struct session *s, const struct command *c)
{
    struct fault fault = {.code = ERROR_FORBIDDEN, .id = c->id, .pattern = c->pattern};
    if (!session_may_pattern(s, c->pattern))
        fault.message = TEXT(HERMES_TEXT_MAY_NOT_PATTERN);
    else if (c->presence && !session_may_see(s))
        fault.message = TEXT(HERMES_TEXT_NO_PRESENCE);
    else
        return true;
    metric_add(&s->worker->metrics, METRIC_forbidden_total, 1);
    session_note_refused(s, c->pattern, true, fault.code);
    answer_error(s, &fault);
    return false;
}

/* Whether all brokers' messages of topics that match come here; else the command waits, or has been
 * answered. What was asked for ahead may have been there too long ago. */
static bool pattern_is_near(struct session *s, const struct command *c, const struct wish *wish)
{
    const struct subscription *there = session_subscription(s, c->pattern, true);
    const struct far_wait *waited = session_waited(s, 0);
    if (!s->worker->shop->route.backplane || (there && (there->watches || !wish->watches)) ||
        session_is_full_for(s, c->pattern, true))
        return true;
    bool done = waited && waited->errand.outcome == ERRAND_DONE;
    if (done && clock_ms() - waited->errand.offset <= PATTERN_STAYS_MS)
        return true;
    if (waited && (!done || session_waited_enough(s)))
        answer_not_joined(s, JOIN_ABSENT, c, wish);
    else
        session_wait(s, c, NULL, 0, ERRAND_PATTERN);
    return false;
}

static void subscribe_pattern(struct session *s, const struct command *c)
{
    struct wish wish = {.name = c->pattern,
        .is_pattern = true,
        .watches = c->presence,
        .policy = policy_of(s, c, POLICY_DISCONNECT),
        .rule = {&rule_default, 0}};
    if (!answer_pattern_allowed(s, c->id, c->pattern) || !may_subscribe_pattern(s, c))
        return;
    if (!pattern_is_near(s, c, &wish))
        return;
    struct route_joined joined;
    enum join_result result = session_join(s, &wish, &joined);
    if (result == JOIN_ENDED)
        return;
    if (result == JOIN_TOO_MANY || result == JOIN_NO_MEMORY) {
        answer_not_joined(s, result, c, &wish);
        return;
    }
    if (result == JOIN_ALREADY) {
        struct subscription *subscription = session_subscription(s, c->pattern, true);
        session_change(s, subscription, c->policy ? wish.policy : subscription->policy,
            subscription->watches || c->presence);
        if (s->conn.unframed)
            return; /* its request names it twice */
    }
    struct buf *out = result == JOIN_OK ? answer_begin_here(s) : answer_begin(s);
    reply2_subscribed_pattern(out, c->id, c->pattern);
    answer_send(s);
}

/* --- several topics at once ------------------------------------------------------------------- */

/* The names in c->topics, which can be gone through once, as a row of struct text in `names`. All
 * are looked at before anything is done. False when one may not be used, which is answered. */
static bool read_topics(struct session *s, struct command *c, struct buf *names)
{
    struct text name;
    while (command_next_topic(&c->topics, &name)) {
        if (!answer_topic_allowed(s, c->id, name))
            return false;
        buf_append(names, &name, sizeof name);
    }
    if (names->failed)
        session_close(s, CLOSE_NO_MEMORY);
    return !names->failed;
}

/* The first of them that there is no room for, or `count`; one that is named twice counts twice. */
static size_t first_too_many(struct session *s, const struct text *names, size_t count)
{
    size_t most = s->worker->shop->limits.subscriptions;
    size_t taken = s->subscriber.count + s->catching;
    size_t room = most > taken ? most - taken : 0;
    if (most == 0 || count <= room)
        return count;
    for (size_t i = 0; i < count; i++) {
        if (session_subscription(s, names[i], false))
            continue;
        if (room == 0)
            return i;
        room--;
    }
    return count;
}

static void subscribe_topics(struct session *s, struct command *c)
{
    struct buf buf = {0};
    if (read_topics(s, c, &buf)) {
        const struct text *names = (const struct text *)(const void *)buf.data;
        size_t count = buf.len / sizeof *names;
        size_t too_many = first_too_many(s, names, count);
        if (too_many < count)
            answer_not_joined(s, JOIN_TOO_MANY, c, &(struct wish){.name = names[too_many]});
        else
            for (size_t i = 0; i < count && subscribe_topic(s, c, &(struct names){names, i, count});
                 i++)
                ;
    }
    buf_fini(&buf);
}

void session_subscribe(struct session *s, struct command *c)
{
    if (c->pattern.len)
        subscribe_pattern(s, c);
    else if (c->topics.len)
        subscribe_topics(s, c);
    else if (answer_topic_allowed(s, c->id, c->topic))
        subscribe_topic(s, c, &(struct names){&c->topic, 0, 1});
}

/* --- unsubscribe ------------------------------------------------------------------------------ */

static void answer_left(
    struct session *s, const struct command *c, struct text name, bool is_pattern)
{
    struct buf *out = answer_begin(s);
    if (!s->enveloped)
        reply_unsubscribed(out, name);
    else if (is_pattern)
        reply2_unsubscribed_pattern(out, c->id, name);
    else
        reply2_unsubscribed(out, c->id, name);
    answer_send(s);
}

static bool unsubscribe(
    struct session *s, const struct command *c, struct text name, bool is_pattern)
{
    struct fault fault = {
        .code = ERROR_NOT_SUBSCRIBED, .message = TEXT(HERMES_TEXT_NOT_SUBSCRIBED), .id = c->id};
    switch (session_leave(s, name, is_pattern)) {
    case LEAVE_OK:
        answer_left(s, c, name, is_pattern);
        break;
    case LEAVE_NOT_SUBSCRIBED:
        *(is_pattern ? &fault.pattern : &fault.topic) = name;
        answer_error(s, &fault);
        break;
    case LEAVE_ENDED:
        break;
    }
    return s->state == SESSION_OPEN;
}

void session_unsubscribe(struct session *s, struct command *c)
{
    if (c->pattern.len) {
        if (answer_pattern_allowed(s, c->id, c->pattern))
            unsubscribe(s, c, c->pattern, true);
    } else if (c->topics.len) {
        struct buf buf = {0};
        if (read_topics(s, c, &buf)) {
            const struct text *names = (const struct text *)(const void *)buf.data;
            for (size_t i = 0; i < buf.len / sizeof *names; i++)
                if (!unsubscribe(s, c, names[i], false))
                    break;
        }
        buf_fini(&buf);
    } else if (answer_topic_allowed(s, c->id, c->topic)) {
        unsubscribe(s, c, c->topic, false);
    }
}
