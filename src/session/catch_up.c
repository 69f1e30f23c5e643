#include "session/catch_up.h"

#include <stdlib.h>
#include <string.h>

#include "proto/json.h"
#include "proto/reply2.h"
#include "session/worker.h"

/* PIECE: bytes of data given at once. PIECES: how many in one turn, to whomever. */
enum { PIECE = 256 * 1024, PIECES = 16, LEAST = 1 << 20, LEAST_SHARE = 8 };

struct catch_up {
    struct list node; /* in the worker's */
    struct catch_up *next_of_session;
    struct session *session;
    struct registry_topic *topic;
    uint64_t hash;
    uint64_t next; /* offset of the message to come */
    enum policy policy;
    bool watches;
    size_t name_len;
    char name[];
};

/* What a message takes in the log besides its data. */
static size_t around(size_t topic_len)
{
    return topic_len + 64;
}

bool catch_up_is_due(const struct worker *w, struct text topic, const struct history_view *past)
{
    size_t share = w->log.budget / LEAST_SHARE;
    size_t least = share != 0 && share < LEAST ? share : LEAST;
    uint64_t messages = past->last + 1 - past->first;
    return past->bytes + messages * around(topic.len) > least;
}

bool catch_up_begin(struct session *s, const struct wish *wish, const struct route_joined *joined)
{
    struct catch_up *c = malloc(sizeof *c + wish->name.len);
    if (!c)
        return false;
    *c = (struct catch_up){.session = s,
        .topic = joined->topic,
        .hash = joined->topic->hash,
        .next = joined->past.first,
        .policy = wish->policy,
        .watches = wish->watches,
        .name_len = wish->name.len};
    memcpy(c->name, wish->name.at, wish->name.len);
    list_append(&s->worker->catching, &c->node);
    s->worker->catching_count++;
    c->next_of_session = s->catch_ups;
    s->catch_ups = c;
    s->catching++;
    return true;
}

static void catch_up_free(struct catch_up *c)
{
    struct session *s = c->session;
    struct catch_up **at = &s->catch_ups;
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
    while (s->catch_ups)
        cancel(s->catch_ups);
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

/* --- pieces ----------------------------------------------------------------------------------- */

/* What the history does not have any more, up to and without `next`. */
static void write_gap(struct buf *out, struct catch_up *c, uint64_t next)
{
    struct buf topic = {0};
    json_string_append(&topic, (struct text){c->name, c->name_len});
    reply2_gap(out, buf_text(&topic), c->next, next - 1);
    out->failed |= topic.failed;
    buf_fini(&topic);
    session_note_loss(c->session, &(struct fact_loss){.kind = FACT_FORGOTTEN,
                                      .hash = c->hash,
                                      .epoch = c->topic->epoch,
                                      .from = c->next,
                                      .to = next - 1});
    c->next = next;
}

/* Sends what the view has, until that comes to `most` bytes. */
static void send_piece(struct catch_up *c, struct history_view *view, size_t most)
{
    struct session *s = c->session;
    struct worker *w = s->worker;
    struct buf *out = &w->enveloped;
    struct text data;
    uint64_t offset;
    envelope_set(&w->envelope, (struct text){c->name, c->name_len}, TEXT(""));
    buf_clear(out);
    while (out->len < most && history_view_next(view, &offset, &data)) {
        if (offset > c->next) {
            metric_add(&w->metrics, METRIC_gaps_sent_total, 1);
            write_gap(out, c, offset);
        }
        envelope_append(out, &w->envelope, data, offset);
        c->next = offset + 1;
    }
    if (out->failed)
        session_close(s, CLOSE_NO_MEMORY);
    else if (out->len > 0)
        session_send_past(s, buf_text(out), c->topic->epoch);
    if (out->cap > 2 * PIECE)
        buf_fini(out);
}

/* The rest is in the view, and all that is published from now on is in the mailbox: the session
 * joins. */
static void finish(struct catch_up *c, struct route_piece *piece)
{
    struct session *s = c->session;
    struct worker *w = s->worker;
    worker_deliver(w); /* what is in the view, too, and not for this session */
    if (s->state != SESSION_OPEN)
        return; /* and `c` is gone */
    send_piece(c, &piece->view, SIZE_MAX);
    if (s->state != SESSION_OPEN)
        return;
    if (c->next <= piece->offset) { /* nothing is kept any more */
        buf_clear(&w->enveloped);
        write_gap(&w->enveloped, c, piece->offset + 1);
        metric_add(&w->metrics, METRIC_gaps_sent_total, 1);
        session_send(s, buf_text(&w->enveloped));
    }
    struct join join = {.enveloped = s->enveloped,
        .policy = c->policy,
        .watches = c->watches,
        .delivered = piece->offset,
        .events = s->conn.unframed};
    struct registry_topic *topic = c->topic;
    if (!local_join(&w->topics, (struct local_key){c->hash, topic, false}, &s->subscriber, join)) {
        session_close(s, CLOSE_NO_MEMORY);
        return;
    }
    session_count_policy(s, c->policy, 1);
    metric_add(&w->metrics, METRIC_subscriptions, 1);
    catch_up_free(c);
}

static void give_piece(struct catch_up *c)
{
    struct worker *w = c->session->worker;
    struct text name = {c->name, c->name_len};
    struct route_piece piece = route_piece(&w->shop->route, worker_rule(w, name), w->index,
        &w->tray, c->hash, name, c->next, (struct piece_limits){PIECE, around(c->name_len)});
    if (piece.last)
        finish(c, &piece);
    else
        send_piece(c, &piece.view, PIECE);
    history_view_fini(&piece.view);
}

bool worker_catch_up(struct worker *w)
{
    bool more = false;
    unsigned pieces = PIECES;
    /* From the front to the end, each once: what one piece leads to may end any of the others. */
    for (uint32_t left = w->catching_count; left > 0 && !list_empty(&w->catching); left--) {
        struct catch_up *c = LIST_ITEM(w->catching.next, struct catch_up, node);
        struct session *s = c->session;
        bool ready = !s->blocked && outbox_unsent(&s->out) <= PIECE;
        if (ready && (pieces == 0 || log_over(&w->log)))
            return true; /* it comes first next time */
        list_remove(&c->node);
        list_append(&w->catching, &c->node);
        if (!ready)
            continue;
        pieces--;
        more = true;
        give_piece(c);
    }
    return more;
}
