/* Joining and leaving topics, exact against the deliveries (guarantee 5). */
#include "base/buf.h"
#include "broker/local.h"
#include "broker/route.h"
#include "session/session.h"
#include "session/worker.h"

static void log_topic(struct worker *w, const char *event, struct text topic, uint32_t subscribers)
{
    LOG_LINE(w->shop->logger, LOG_DEBUG, event, LOG_TEXT("topic", topic),
        LOG_NUMBER("subscribers", subscribers));
}

/* The local topic the session subscribes to, or NULL. */
static struct subscription *subscribed(struct session *s, uint64_t hash, struct text topic)
{
    struct worker *w = s->worker;
    struct registry *registry = &w->shop->route.registry;
    if (s->subscriber.count == 0)
        return NULL;
    struct local_topic *local = local_find_named(&w->topics, registry, hash, topic);
    return local ? subscriber_find(&s->subscriber, local) : NULL;
}

/* Takes one subscription out of both tables; the mail is not looked at. */
static void leave(struct session *s, struct local_topic *local)
{
    struct worker *w = s->worker;
    struct route *route = &w->shop->route;
    struct registry_topic *registered = local->registered;
    /* Whoever is joining the topic just now needs the worker's interest in it. */
    bool last = local->count == 1 && registered != w->joining;
    struct buf name = {0}; /* it goes with the topic, and may be wanted for the log after that */
    if (last && logger_wants(w->shop->logger, LOG_DEBUG))
        buf_append_text(&name, registry_name(&route->registry, registered));
    local_leave(&w->topics, local, &s->subscriber);
    if (route_unsubscribe(route, w->index, registered, last))
        log_topic(w, "topic gone", buf_text(&name), 0);
    buf_fini(&name);
    metric_add(&w->metrics, METRIC_subscriptions, -1);
}

enum join_result session_join(struct session *s, struct text topic)
{
    struct worker *w = s->worker;
    struct route *route = &w->shop->route;
    uint64_t hash = registry_hash(&route->registry, topic);
    size_t most = w->shop->limits.subscriptions;
    if (subscribed(s, hash, topic))
        return JOIN_ALREADY;
    if (most != 0 && s->subscriber.count >= most)
        return JOIN_TOO_MANY;
    bool made;
    struct registry_topic *registered =
        route_subscribe(route, w->index, &w->tray, hash, topic, &made);
    if (!registered)
        return JOIN_NO_MEMORY;
    w->joining = registered;
    worker_deliver(w); /* what was published before this subscribe: not for this session */
    w->joining = NULL;
    bool joined = s->state == SESSION_OPEN && local_join(&w->topics, registered, &s->subscriber);
    if (!joined) {
        bool last = !local_find(&w->topics, hash, registered);
        route_unsubscribe(route, w->index, registered, last);
        return s->state == SESSION_OPEN ? JOIN_NO_MEMORY : JOIN_ENDED;
    }
    metric_add(&w->metrics, METRIC_subscriptions, 1);
    if (made)
        log_topic(w, "topic appeared", topic, 1);
    return JOIN_OK;
}

enum leave_result session_leave(struct session *s, struct text topic)
{
    struct worker *w = s->worker;
    uint64_t hash = registry_hash(&w->shop->route.registry, topic);
    if (!subscribed(s, hash, topic))
        return LEAVE_NOT_SUBSCRIBED;
    mailbox_take(&w->box, &w->tray);
    worker_deliver(w); /* what was published before this unsubscribe: still for this session */
    if (s->state != SESSION_OPEN)
        return LEAVE_ENDED;
    leave(s, subscribed(s, hash, topic)->topic);
    return LEAVE_OK;
}

void session_leave_all(struct session *s)
{
    struct local_topic *local;
    while ((local = subscriber_any(&s->subscriber)) != NULL)
        leave(s, local);
}
