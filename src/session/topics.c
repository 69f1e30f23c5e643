/* Joining and leaving topics and patterns, exact against the deliveries (guarantee 5). */
#include "base/buf.h"
#include "broker/local.h"
#include "broker/route.h"
#include "session/audit.h"
#include "session/catch_up.h"
#include "session/facts.h"
#include "session/far.h"
#include "session/session.h"
#include "session/slow.h"
#include "session/worker.h"

static void log_topic(struct worker *w, const char *event, struct text topic, uint32_t subscribers)
{
    LOG_LINE(w->shop->logger, LOG_DEBUG, event, LOG_TEXT("topic", topic),
        LOG_NUMBER("subscribers", subscribers));
}

static struct subscription *subscribed(
    struct session *s, uint64_t hash, struct text name, bool is_pattern)
{
    struct worker *w = s->worker;
    struct route *route = &w->shop->route;
    if (s->subscriber.count == 0)
        return NULL;
    struct local_topic *local = is_pattern
                                    ? local_find_pattern(&w->topics, &route->patterns, hash, name)
                                    : local_find_named(&w->topics, &route->registry, hash, name);
    return local ? subscriber_find(&s->subscriber, local) : NULL;
}

struct subscription *session_subscription(struct session *s, struct text name, bool is_pattern)
{
    return subscribed(s, registry_hash(&s->worker->shop->route.registry, name), name, is_pattern);
}

/* --- leaving ---------------------------------------------------------------------------------- */

static void leave_topic(struct session *s, struct local_topic *local, bool last, bool watched)
{
    struct worker *w = s->worker;
    struct route *route = &w->shop->route;
    struct registry_topic *registered = local->registered;
    struct buf name = {0}; /* it goes with the topic, and may be wanted for the log after that */
    session_tell_presence(s, registered, false);
    if (last && logger_wants(w->shop->logger, LOG_DEBUG))
        buf_append_text(&name, registry_name(&route->registry, registered));
    local_leave(&w->topics, local, &s->subscriber);
    if (route_unsubscribe(route, w->index, registered, last, watched))
        log_topic(w, "topic gone", buf_text(&name), 0);
    buf_fini(&name);
}

/* Takes one subscription out of both tables; the mail is not looked at. */
static void leave(struct session *s, struct local_topic *local)
{
    struct worker *w = s->worker;
    struct route *route = &w->shop->route;
    struct subscription *subscription = subscriber_find(&s->subscriber, local);
    bool watched = subscription->watches;
    session_count_policy(s, subscription->policy, -1);
    /* Whoever is joining the topic, now or when it has caught up, needs the worker's interest in
     * it. */
    bool last = local->count == 1 && local->key != w->joining && !catch_up_needs(w, local->key);
    if (local->is_pattern) {
        struct pattern *pattern = local->pattern;
        local_leave(&w->topics, local, &s->subscriber);
        patterns_leave(&route->patterns, pattern, w->index, last, watched);
    } else {
        leave_topic(s, local, last, watched);
    }
    metric_add(&w->metrics, METRIC_subscriptions, -1);
}

enum leave_result session_leave(struct session *s, struct text name, bool is_pattern)
{
    struct worker *w = s->worker;
    uint64_t hash = registry_hash(&w->shop->route.registry, name);
    if (!is_pattern && catch_up_cancel(s, name))
        return LEAVE_OK;
    if (!subscribed(s, hash, name, is_pattern))
        return LEAVE_NOT_SUBSCRIBED;
    mailbox_take(&w->box, &w->tray);
    worker_deliver(w); /* what was published before this unsubscribe: still for this session */
    if (s->state != SESSION_OPEN)
        return LEAVE_ENDED;
    struct local_topic *local = subscribed(s, hash, name, is_pattern)->topic;
    session_note_left(s, local);
    leave(s, local);
    return LEAVE_OK;
}

void session_leave_all(struct session *s)
{
    catch_up_cancel_all(s);
    struct local_topic *local;
    while ((local = subscriber_any(&s->subscriber)) != NULL)
        leave(s, local);
}

/* --- joining ---------------------------------------------------------------------------------- */

/* Delivers what was published before this subscribe, which is not for this session, and joins it
 * locally. */
static enum join_result join_here(
    struct session *s, const struct wish *wish, struct local_key key, struct route_joined *joined)
{
    struct worker *w = s->worker;
    w->joining = key.key;
    worker_deliver(w);
    session_part_gaps(s);
    w->joining = NULL;
    if (s->state != SESSION_OPEN)
        return JOIN_ENDED;
    bool fetched = joined && far_resume(wish, joined);
    if (fetched || (joined && catch_up_is_due(w, wish->name, &joined->past))) {
        if (s->catching == UINT16_MAX)
            return JOIN_TOO_MANY;
        if (!catch_up_begin(s, wish, joined))
            return JOIN_NO_MEMORY;
        session_note_joined(s, key, wish->policy, joined);
        return JOIN_LATER;
    }
    struct join join = {.enveloped = s->enveloped,
        .policy = wish->policy,
        .watches = wish->watches,
        .delivered = joined ? joined->offset : 0,
        .events = s->conn.unframed};
    if (!local_join(&w->topics, key, &s->subscriber, join))
        return JOIN_NO_MEMORY;
    session_count_policy(s, wish->policy, 1);
    metric_add(&w->metrics, METRIC_subscriptions, 1);
    session_note_joined(s, key, wish->policy, joined);
    worker_audit(w);
    return JOIN_OK;
}

static enum join_result join_topic(
    struct session *s, const struct wish *wish, uint64_t hash, struct route_joined *joined)
{
    struct worker *w = s->worker;
    struct route *route = &w->shop->route;
    *joined = route_subscribe(
        route, wish->rule, w->index, &w->tray, hash, wish->name, wish->watches, wish->past);
    struct registry_topic *registered = joined->topic;
    if (!registered)
        return joined->absent ? JOIN_ABSENT : JOIN_NO_MEMORY;
    enum join_result result =
        join_here(s, wish, (struct local_key){hash, registered, false}, joined);
    if (result != JOIN_OK && result != JOIN_LATER) {
        bool last = !local_find(&w->topics, hash, registered) && !catch_up_needs(w, registered);
        history_view_fini(&joined->past);
        route_unsubscribe(route, w->index, registered, last, wish->watches);
        return result;
    }
    session_tell_presence(s, registered, true);
    if (joined->made)
        log_topic(w, "topic appeared", wish->name, 1);
    return result;
}

/* A worker whose stripes had nothing to look for has stopped looking. */
static void tell_to_sweep(struct workshop *shop)
{
    for (unsigned i = 0; i < shop->count; i++)
        mailbox_post(shop->route.boxes[i], (struct mail){.kind = MAIL_SWEEP});
}

static enum join_result join_pattern(struct session *s, const struct wish *wish, uint64_t hash)
{
    struct worker *w = s->worker;
    struct route *route = &w->shop->route;
    struct pattern *pattern =
        patterns_join(&route->patterns, hash, wish->name, w->index, wish->watches);
    if (!pattern)
        return JOIN_NO_MEMORY;
    mailbox_take(&w->box, &w->tray);
    enum join_result result = join_here(s, wish, (struct local_key){hash, pattern, true}, NULL);
    if (result == JOIN_OK) {
        if (patterns_few(&route->patterns))
            tell_to_sweep(w->shop);
    } else {
        bool last = !local_find(&w->topics, hash, pattern);
        patterns_leave(&route->patterns, pattern, w->index, last, wish->watches);
    }
    return result;
}

bool session_has_room(const struct session *s, size_t more)
{
    size_t most = s->worker->shop->limits.subscriptions;
    return most == 0 || s->subscriber.count + s->catching + more < most;
}

bool session_is_full_for(struct session *s, struct text name, bool is_pattern)
{
    return !session_has_room(s, 0) && !session_subscription(s, name, is_pattern) &&
           (is_pattern || !catch_up_is_under_way(s, name));
}

enum join_result session_join(
    struct session *s, const struct wish *wish, struct route_joined *joined)
{
    struct worker *w = s->worker;
    uint64_t hash = registry_hash(&w->shop->route.registry, wish->name);
    if (subscribed(s, hash, wish->name, wish->is_pattern))
        return JOIN_ALREADY;
    if (!wish->is_pattern && catch_up_is_under_way(s, wish->name))
        return JOIN_UNDER_WAY;
    if (!session_has_room(s, 0))
        return JOIN_TOO_MANY;
    return wish->is_pattern ? join_pattern(s, wish, hash) : join_topic(s, wish, hash, joined);
}

void session_change(
    struct session *s, struct subscription *subscription, enum policy policy, bool watches)
{
    struct route *route = &s->worker->shop->route;
    struct local_topic *local = subscription->topic;
    session_count_policy(s, subscription->policy, -1);
    session_count_policy(s, policy, 1);
    if (subscription->watches != watches) {
        int by = watches ? 1 : -1;
        if (local->is_pattern)
            patterns_watch(&route->patterns, by);
        else
            route_watch(route, local->registered, by);
    }
    local_change(subscription, policy, watches);
}
