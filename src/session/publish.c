/* What a session publishes, from the command to the route.
 *
 * What it publishes to one topic in a row, within what was read at once, goes to the route as one
 * message of several frames: hashed, looked up, locked and posted once. It is posted as soon as
 * anything else comes: another topic, another command, a ping, the end of what was read. So nobody
 * can tell the difference. */
#include <string.h>

#include "broker/topic_name.h"
#include "hermes/protocol.h"
#include "proto/ws_out.h"
#include "session/session.h"
#include "session/worker.h"

/* GATHER_FIRST: room to begin with, while nobody has used more. */
enum { GATHER_BYTES = 32 * 1024, GATHER_FIRST = 256 };

/* Takes the caller's reference on `m`, whose frames are ready. */
static void post(struct session *s, uint64_t hash, struct text topic, struct message *m)
{
    struct worker *w = s->worker;
    metric_add(&w->metrics, METRIC_messages_published_total, m->count);
    struct route_result result = route_publish(&w->shop->route, hash, topic, m);
    s->published = w->deliveries + 1;
    if (result.crowded >= 0 && s->state == SESSION_OPEN)
        worker_pause(w, s, (unsigned)result.crowded);
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
    g->usual = m->len;
    if (m->len < g->room / 2) { /* what waits in a mailbox takes no more than it needs */
        struct message *smaller = message_resize(m, m->len);
        m = smaller ? smaller : m;
    }
    post(g->publisher, g->hash, buf_text(&g->topic), m);
}

/* Begins to gather for another topic; false when it may not be used or there is no memory. */
static bool gather_for(struct session *s, struct text topic)
{
    struct worker *w = s->worker;
    struct gathered *g = &w->gathered;
    if (!session_topic_allowed(s, topic))
        return false;
    buf_clear(&g->topic);
    buf_append_text(&g->topic, topic);
    g->room = g->usual > GATHER_FIRST ? g->usual : GATHER_FIRST;
    g->message = g->topic.failed ? NULL : message_begin(g->room);
    if (!g->message) {
        session_error(s, TEXT(HERMES_TEXT_NOT_PUBLISHED));
        return false;
    }
    g->hash = registry_hash(&w->shop->route.registry, topic);
    g->publisher = s;
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

/* One whose copying costs more than its posting. */
static void publish_large(struct session *s, struct text topic, struct text data)
{
    struct registry *registry = &s->worker->shop->route.registry;
    uint8_t head[WS_HEAD_MAX];
    size_t head_len = ws_head(head, WS_TEXT, data.len);
    if (!session_topic_allowed(s, topic))
        return;
    struct message *m = message_new(head_len + data.len);
    if (!m) {
        session_error(s, TEXT(HERMES_TEXT_NOT_PUBLISHED));
        return;
    }
    memcpy(m->frames, head, head_len);
    memcpy(m->frames + head_len, data.at, data.len);
    post(s, registry_hash(registry, topic), topic, m);
}

void session_publish(struct session *s, struct text topic, struct text data)
{
    struct worker *w = s->worker;
    struct gathered *g = &w->gathered;
    if (!g->message || !text_equal(buf_text(&g->topic), topic) ||
        g->message->len + data.len > GATHER_BYTES) {
        worker_post_gathered(w);
        if (data.len > GATHER_BYTES / 2) {
            publish_large(s, topic, data);
            return;
        }
        if (!gather_for(s, topic))
            return;
    }
    if (!gather_room(g, WS_HEAD_MAX + data.len)) {
        worker_post_gathered(w);
        session_error(s, TEXT(HERMES_TEXT_NOT_PUBLISHED));
        return;
    }
    struct message *m = g->message;
    m->len += (uint32_t)ws_head((uint8_t *)m->frames + m->len, WS_TEXT, data.len);
    memcpy(m->frames + m->len, data.at, data.len);
    m->len += (uint32_t)data.len;
    m->count++;
}
