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

enum { GATHER_BYTES = 32 * 1024 };

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
    struct session *s = g->publisher;
    uint32_t count = g->count;
    g->publisher = NULL;
    g->count = 0;
    if (count == 0)
        return;
    struct message *m = message_new(g->frames.len);
    if (!m) {
        for (; count > 0; count--)
            session_error(s, TEXT(HERMES_TEXT_NOT_PUBLISHED));
        return;
    }
    memcpy(m->frames, g->frames.data, g->frames.len);
    m->count = count;
    post(s, g->hash, buf_text(&g->topic), m);
}

/* Begins to gather for another topic; false when it may not be used or there is no memory. */
static bool gather_for(struct session *s, struct text topic)
{
    struct worker *w = s->worker;
    struct gathered *g = &w->gathered;
    if (!session_topic_allowed(s, topic))
        return false;
    buf_clear(&g->frames);
    buf_clear(&g->topic);
    buf_append_text(&g->topic, topic);
    if (g->topic.failed) {
        session_error(s, TEXT(HERMES_TEXT_NOT_PUBLISHED));
        return false;
    }
    g->hash = registry_hash(&w->shop->route.registry, topic);
    g->publisher = s;
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
    if (g->publisher != s || !text_equal(buf_text(&g->topic), topic) ||
        g->frames.len + data.len > GATHER_BYTES) {
        worker_post_gathered(w);
        if (data.len > GATHER_BYTES / 2) {
            publish_large(s, topic, data);
            return;
        }
        if (!gather_for(s, topic))
            return;
    }
    ws_frame(&g->frames, WS_TEXT, data.at, data.len);
    if (!g->frames.failed) {
        g->count++;
        return;
    }
    worker_post_gathered(w);
    session_error(s, TEXT(HERMES_TEXT_NOT_PUBLISHED));
}
