#include "session/catch_up.h"

#include <stdlib.h>
#include <string.h>

#include "session/catch_up_state.h"
#include "session/far.h"
#include "session/worker.h"

enum { LEAST = 1 << 20, LEAST_SHARE = 8 };

bool catch_up_is_due(const struct worker *w, struct text topic, const struct history_view *past)
{
    size_t share = w->log.budget / LEAST_SHARE;
    size_t least = share != 0 && share < LEAST ? share : LEAST;
    uint64_t messages = past->last + 1 - past->first;
    return past->bytes + messages * catch_up_around(topic.len) > least;
}

bool catch_up_begin(struct session *s, const struct wish *wish, const struct route_joined *joined)
{
    struct catch_up *c = malloc(sizeof *c + wish->name.len);
    if (!c)
        return false;
    *c = (struct catch_up){.session = s,
        .topic = joined->topic,
        .hash = joined->topic->hash,
        .epoch = joined->epoch,
        .next = joined->past.first,
        .policy = wish->policy,
        .watches = wish->watches,
        .name_len = wish->name.len};
    memcpy(c->name, wish->name.at, wish->name.len);
    if (wish->fetched && wish->fetched->epoch == c->epoch)
        catch_up_take(c, wish->fetched);
    list_append(&s->worker->catching, &c->node);
    s->worker->catching_count++;
    c->next_of_session = s->catch_ups;
    s->catch_ups = c;
    s->catching++;
    return true;
}

void catch_up_free(struct catch_up *c)
{
    struct session *s = c->session;
    struct catch_up **at = &s->catch_ups;
    catch_up_forget_fetched(c);
    while (*at != c)
        at = &(*at)->next_of_session;
    *at = c->next_of_session;
    s->catching--;
    s->worker->catching_count--;
    list_remove(&c->node);
    free(c);
}

static void cancel(struct catch_up *c)
{
    struct worker *w = c->session->worker;
    struct registry_topic *topic = c->topic;
    bool watches = c->watches;
    bool here = local_find(&w->topics, c->hash, topic) != NULL;
    session_tell_presence(c->session, topic, false);
    catch_up_free(c);
    bool last = !here && w->joining != topic && !catch_up_needs(w, topic);
    route_unsubscribe(&w->shop->route, w->index, topic, last, watches);
}

static struct catch_up *find(struct session *s, struct text topic)
{
    struct catch_up *c = s->catch_ups;
    while (c && !text_equal((struct text){c->name, c->name_len}, topic))
        c = c->next_of_session;
    return c;
}

bool catch_up_is_under_way(struct session *s, struct text topic)
{
    return find(s, topic) != NULL;
}

void catch_up_change(struct session *s, const struct wish *wish, bool policy)
{
    struct catch_up *c = find(s, wish->name);
    if (policy)
        c->policy = wish->policy;
    if (wish->watches && !c->watches) {
        c->watches = true;
        route_watch(&s->worker->shop->route, c->topic, 1);
    }
}

struct catch_up *catch_up_next(const struct catch_up *c)
{
    return c->next_of_session;
}

struct catch_up_place catch_up_place(const struct catch_up *c)
{
    return (struct catch_up_place){c->topic, c->next};
}

struct catch_up *catch_up_find(struct session *s, const void *topic)
{
    struct catch_up *c = s->catch_ups;
    while (c && c->topic != topic)
        c = c->next_of_session;
    return c;
}

uint32_t catch_up_count(const struct worker *w, const void *topic)
{
    uint32_t count = 0;
    for (struct list *at = w->catching.next; at != &w->catching; at = at->next)
        count += LIST_ITEM(at, struct catch_up, node)->topic == topic;
    return count;
}

struct text catch_up_name(const struct catch_up *c)
{
    return (struct text){c->name, c->name_len};
}

void catch_up_unwatch(struct catch_up *c)
{
    if (c->watches)
        route_watch(&c->session->worker->shop->route, c->topic, -1);
    c->watches = false;
}

bool catch_up_cancel(struct session *s, struct text topic)
{
    struct catch_up *c = find(s, topic);
    if (!c)
        return false;
    session_note_given_up(s, c);
    cancel(c);
    return true;
}

void catch_up_cancel_all(struct session *s)
{
    for (struct catch_up *c = s->catch_ups, *next; c; c = next) {
        next = c->next_of_session;
        cancel(c);
    }
}

bool catch_up_covers(const struct session *s, const void *topic)
{
    const struct catch_up *c = s->catch_ups;
    while (c && c->topic != topic)
        c = c->next_of_session;
    return c != NULL;
}

void catch_up_list(struct worker *w, struct text topic, struct buf *clients)
{
    for (struct list *at = w->catching.next; at != &w->catching; at = at->next) {
        struct catch_up *c = LIST_ITEM(at, struct catch_up, node);
        struct session *s = c->session;
        if (s->reached == w->choosing || !text_equal((struct text){c->name, c->name_len}, topic))
            continue;
        s->reached = w->choosing;
        buf_append(clients, &s->client, sizeof s->client);
    }
}

bool catch_up_needs(const struct worker *w, const void *topic)
{
    for (struct list *at = w->catching.next; at != &w->catching; at = at->next)
        if (LIST_ITEM(at, struct catch_up, node)->topic == topic)
            return true;
    return false;
}
