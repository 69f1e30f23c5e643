/* What a session publishes, from the command to the route.
 *
 * What it publishes to one topic in a row, within what was read at once, goes to the route as one
 * message of several frames: hashed, looked up, locked and posted once. It is posted as soon as
 * anything else comes: another topic, another command, a ping, the end of what was read. So nobody
 * can tell the difference. */
#include <string.h>

#include "hermes/protocol.h"
#include "proto/reply.h"
#include "proto/ws_out.h"
#include "session/answer.h"
#include "session/bearer.h"
#include "session/far.h"
#include "session/parked.h"
#include "session/worker.h"

/* GATHER_FIRST: room to begin with, while nobody has used more. */
enum { GATHER_BYTES = 32 * 1024, GATHER_FIRST = 256, ACKS_KEPT = 64 * 1024 };

/* Somebody wants to know what became of a message. */
struct ack {
    uint32_t index; /* of the message, among those gathered */
    uint32_t id_len;
};

/* Answers to one session that wait, and behind this their frames. */
struct late_acks {
    struct session *session; /* NULL: it has ended */
    size_t len;
};

/* --- answers ---------------------------------------------------------------------------------- */

static void answer_not_published(struct session *s, struct text id, struct text topic)
{
    answer_error(s, &(struct fault){.code = ERROR_UNAVAILABLE,
                        .message = TEXT(HERMES_TEXT_NOT_PUBLISHED),
                        .id = id,
                        .topic = topic});
}

static void write_failed(struct session *s, struct text id, struct text topic)
{
    struct worker *w = s->worker;
    bool far = route_is_far(&w->shop->route, worker_rule(w, topic).rule);
    struct text why = far ? TEXT(HERMES_TEXT_ALONE) : TEXT(HERMES_TEXT_NOT_PUBLISHED);
    metric_add(&w->metrics, METRIC_errors_sent_total, 1);
    if (s->enveloped)
        reply2_error(&w->acks, ERROR_UNAVAILABLE, why, id, topic, TEXT(""));
    else
        reply_error(&w->acks, why);
}

/* They are sent when the worker's mail has been delivered, so that what the publisher gets of it
 * itself comes first. */
void session_answer_published(struct session *s, struct text topic, uint32_t count,
    const struct route_result *result, struct text acks)
{
    struct buf *out = &s->worker->acks;
    uint64_t first = result->offset ? result->offset - count + 1 : 0;
    struct late_acks late = {.session = s};
    size_t start = out->len;
    uint32_t answered = 0;
    buf_append(out, &late, sizeof late);
    for (size_t at = 0; at < acks.len; answered++) {
        struct ack ack;
        memcpy(&ack, acks.at + at, sizeof ack);
        struct text id = {acks.at + at + sizeof ack, ack.id_len};
        at += sizeof ack + ack.id_len;
        if (result->failed)
            write_failed(s, id, topic);
        else
            reply2_published(
                out, id, topic, result->offset ? first + ack.index : 0, result->subscribers);
    }
    for (; result->failed && answered < count; answered++)
        write_failed(s, TEXT(""), topic);
    if (out->failed) {
        out->failed = false;
        out->len = start;
        session_close(s, CLOSE_NO_MEMORY);
        return;
    }
    late.len = out->len - start - sizeof late;
    memcpy(out->data + start, &late, sizeof late);
}

void worker_send_acks(struct worker *w)
{
    struct buf *acks = &w->acks;
    for (size_t at = 0; at < acks->len;) {
        struct late_acks late;
        memcpy(&late, acks->data + at, sizeof late);
        at += sizeof late;
        if (late.session && late.session->state == SESSION_OPEN)
            session_send(late.session, (struct text){acks->data + at, late.len});
        at += late.len;
    }
    if (acks->cap > ACKS_KEPT)
        buf_fini(acks);
    buf_clear(acks);
}

void session_forget_acks(struct session *s)
{
    struct buf *acks = &s->worker->acks;
    for (size_t at = 0; at < acks->len;) {
        struct late_acks late;
        memcpy(&late, acks->data + at, sizeof late);
        if (late.session == s) {
            late.session = NULL;
            memcpy(acks->data + at, &late, sizeof late);
        }
        at += sizeof late + late.len;
    }
}

/* --- posting ---------------------------------------------------------------------------------- */

/* The answers come when it is back. False when there is no memory. */
static bool post_far(struct session *s, struct route_rule rule, uint64_t hash, struct text topic,
    bool quiet, struct message *m)
{
    struct buf *acks = &s->worker->gathered.acks;
    bool sent =
        far_publish(s->worker, &(struct publishing){.session = s->state == SESSION_OPEN ? s : NULL,
                                   .rule = rule,
                                   .hash = hash,
                                   .topic = topic,
                                   .message = m,
                                   .quiet = quiet,
                                   .acks = buf_text(acks)});
    if (sent)
        buf_clear(acks);
    return sent;
}

/* Takes the caller's reference on `m`, whose frames are ready. */
static void post(struct session *s, struct route_rule rule, uint64_t hash, struct text topic,
    bool quiet, struct message *m)
{
    struct worker *w = s->worker;
    struct buf *acks = &w->gathered.acks;
    struct route_result result = {.crowded = -1};
    uint32_t count = m->count;
    m->except = quiet ? s->client : 0;
    if (route_is_far(&w->shop->route, rule.rule)) {
        if (post_far(s, rule, hash, topic, quiet, m))
            return;
        result.failed = true;
    } else {
        pulse_publish(&w->pulse, m, &w->loop);
        result = route_publish(&w->shop->route, rule, hash, topic, m);
    }
    s->published = w->deliveries + 1;
    if (!result.failed)
        metric_add(&w->metrics, METRIC_messages_published_total, count);
    if (result.crowded >= 0 && s->state == SESSION_OPEN)
        worker_pause(w, s, (unsigned)result.crowded);
    if (quiet && result.subscribers > 0 && session_subscription(s, topic, false))
        result.subscribers--;
    /* Who is gone has been forgotten already, and must not be remembered again. */
    if (s->state == SESSION_OPEN && (result.failed || acks->len > 0))
        session_answer_published(s, topic, count, &result, buf_text(acks));
    buf_clear(acks);
}

void worker_post_gathered(struct worker *w)
{
    struct gathered *g = &w->gathered;
    struct message *m = g->message;
    g->message = NULL;
    if (!m)
        return;
    if (m->count == 0) {
        message_drop(m);
        return;
    }
    g->usual = m->len + WS_HEAD_MAX;      /* room is asked for as if every head were the longest */
    if (m->len < g->room - g->room / 4) { /* what waits in a mailbox takes no more than it needs */
        struct message *smaller = message_resize(m, m->len);
        m = smaller ? smaller : m;
    }
    post(g->publisher, g->rule, g->hash, buf_text(&g->topic), g->quiet, m);
}

/* --- gathering -------------------------------------------------------------------------------- */

/* Whether the topic may be published to; answers when not. */
static bool may_publish(struct session *s, const struct command *c, struct route_rule *rule)
{
    if (!answer_topic_allowed(s, c->id, c->topic))
        return false;
    *rule = worker_rule(s->worker, c->topic);
    if (session_may(s, GRANT_PUBLISH, rule->rule, c->topic))
        return true;
    metric_add(&s->worker->metrics, METRIC_forbidden_total, 1);
    answer_error(s, &(struct fault){.code = ERROR_FORBIDDEN,
                        .message = TEXT(HERMES_TEXT_MAY_NOT_PUBLISH),
                        .id = c->id,
                        .topic = c->topic});
    return false;
}

static bool fits_rule(struct session *s, const struct command *c, const struct rule *rule)
{
    if (rule->max_bytes == 0 || c->data.len <= rule->max_bytes)
        return true;
    answer_error(s, &(struct fault){.code = ERROR_TOO_LARGE,
                        .message = TEXT(HERMES_TEXT_TOO_LARGE),
                        .id = c->id,
                        .topic = c->topic});
    return false;
}

/* What the session has published in the cluster before comes before what is numbered here: true
 * when that is not so yet, and the publish waits. */
static bool waits_for_far(struct session *s, const struct rule *rule)
{
    const struct route *route = &s->worker->shop->route;
    if (!route->backplane || s->state != SESSION_OPEN || route_is_far(route, rule) ||
        !session_publishes_far(s))
        return false;
    session_park_behind_publishes(s, buf_text(&s->worker->untouched), true);
    return true;
}

/* Begins to gather for another topic; false when it may not be used or there is no memory. */
static bool gather_for(struct session *s, const struct command *c)
{
    struct worker *w = s->worker;
    struct gathered *g = &w->gathered;
    if (!may_publish(s, c, &g->rule) || waits_for_far(s, g->rule.rule))
        return false;
    buf_clear(&g->topic);
    buf_append_text(&g->topic, c->topic);
    g->room = g->usual > GATHER_FIRST ? g->usual : GATHER_FIRST;
    g->message = g->topic.failed ? NULL : message_begin(g->room);
    if (!g->message) {
        answer_not_published(s, c->id, c->topic);
        return false;
    }
    g->hash = registry_hash(&w->shop->route.registry, c->topic);
    g->publisher = s;
    g->quiet = c->quiet;
    return true;
}

/* Room for `more` bytes; false when there is no memory. */
static bool gather_room(struct gathered *g, size_t more)
{
    size_t room = g->room;
    while (room - g->message->len < more)
        room *= 2;
    if (room == g->room)
        return true;
    struct message *bigger = message_resize(g->message, room);
    if (!bigger)
        return false;
    g->message = bigger;
    g->room = room;
    return true;
}

/* The message of that index is to be answered. False when there is no memory. */
static bool want_ack(struct gathered *g, uint32_t index, struct text id)
{
    struct ack ack = {.index = index, .id_len = (uint32_t)id.len};
    size_t before = g->acks.len;
    buf_append(&g->acks, &ack, sizeof ack);
    buf_append_text(&g->acks, id);
    if (!g->acks.failed)
        return true;
    g->acks.len = before;
    g->acks.failed = false;
    return false;
}

/* One whose copying costs more than its posting. */
static void publish_large(struct session *s, const struct command *c)
{
    struct worker *w = s->worker;
    struct route_rule rule;
    uint8_t head[WS_HEAD_MAX];
    size_t head_len = ws_head(head, WS_TEXT, c->data.len);
    if (!may_publish(s, c, &rule) || !fits_rule(s, c, rule.rule) || waits_for_far(s, rule.rule))
        return;
    struct message *m = message_new(head_len + c->data.len);
    if (!m || (c->id.len && !want_ack(&w->gathered, 0, c->id))) {
        if (m)
            message_drop(m);
        answer_not_published(s, c->id, c->topic);
        return;
    }
    memcpy(m->frames, head, head_len);
    memcpy(m->frames + head_len, c->data.at, c->data.len);
    post(s, rule, registry_hash(&w->shop->route.registry, c->topic), c->topic, c->quiet, m);
}

void session_publish(struct session *s, const struct command *c)
{
    struct worker *w = s->worker;
    struct gathered *g = &w->gathered;
    struct text data = c->data;
    if (!g->message || g->quiet != c->quiet || !text_equal(buf_text(&g->topic), c->topic) ||
        g->message->len + data.len > GATHER_BYTES) {
        worker_post_gathered(w);
        if (data.len > GATHER_BYTES / 2) {
            publish_large(s, c);
            return;
        }
        if (!gather_for(s, c))
            return;
    }
    if (!fits_rule(s, c, g->rule.rule))
        return;
    if (!gather_room(g, WS_HEAD_MAX + data.len) ||
        (c->id.len && !want_ack(g, g->message->count, c->id))) {
        worker_post_gathered(w);
        answer_not_published(s, c->id, c->topic);
        return;
    }
    struct message *m = g->message;
    m->len += (uint32_t)ws_head((uint8_t *)m->frames + m->len, WS_TEXT, data.len);
    memcpy(m->frames + m->len, data.at, data.len);
    m->len += (uint32_t)data.len;
    m->count++;
}
