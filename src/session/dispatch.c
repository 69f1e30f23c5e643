/* What an open session's frames ask for. */
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "broker/topic_list.h"
#include "broker/topic_name.h"
#include "hermes/protocol.h"
#include "proto/command.h"
#include "proto/reply.h"
#include "proto/ws_out.h"
#include "session/session.h"
#include "session/worker.h"

/* Begins an answer in the worker's scratch buffer, to stand right behind what has been delivered.
 */
static struct buf *begin_here(struct session *s)
{
    buf_clear(&s->worker->scratch);
    return &s->worker->scratch;
}

/* The same, but what the session itself published before is delivered first, so that whoever
 * subscribes to its own topics can take any answer, a pong too, as the sign that it has seen all of
 * it. */
static struct buf *begin(struct session *s)
{
    struct worker *w = s->worker;
    worker_post_gathered(w);
    if (s->published == w->deliveries + 1) {
        mailbox_take(&w->box, &w->tray);
        worker_deliver(w);
    }
    return begin_here(s);
}

/* Sends what has been written since `begin`, which may have ended the session. */
static void answer(struct session *s)
{
    struct buf *out = &s->worker->scratch;
    if (s->state != SESSION_OPEN)
        return;
    if (out->failed)
        session_close(s, CLOSE_NO_MEMORY);
    else
        session_send(s, buf_text(out));
    worker_relieve(s->worker); /* many large answers to one read must not pile up */
}

static struct buf *begin_error(struct session *s)
{
    metric_add(&s->worker->metrics, METRIC_errors_sent_total, 1);
    return begin(s);
}

void session_error(struct session *s, struct text message)
{
    reply_error(begin_error(s), message);
    answer(s);
}

bool session_topic_allowed(struct session *s, struct text topic)
{
    const char *fault = topic_name_fault(topic, s->worker->shop->limits.topic_bytes);
    if (!fault)
        return true;
    if (topic.len > s->worker->shop->limits.topic_bytes)
        metric_add(&s->worker->metrics, METRIC_limit_topic_bytes_total, 1);
    session_error(s, text_of(fault));
    return false;
}

static void subscribe(struct session *s, struct text topic)
{
    if (!session_topic_allowed(s, topic))
        return;
    switch (session_join(s, topic)) {
    case JOIN_OK:
        reply_subscribed(begin_here(s), topic); /* mail that came since is behind the answer */
        answer(s);
        break;
    case JOIN_ALREADY:
        reply_subscribed(begin(s), topic);
        answer(s);
        break;
    case JOIN_TOO_MANY:
        metric_add(&s->worker->metrics, METRIC_limit_subscriptions_total, 1);
        session_error(s, TEXT(HERMES_TEXT_SUBSCRIPTIONS));
        break;
    case JOIN_NO_MEMORY:
        session_error(s, TEXT(HERMES_TEXT_NO_SUBSCRIPTION));
        break;
    case JOIN_ENDED:
        break;
    }
}

static void unsubscribe(struct session *s, struct text topic)
{
    if (!session_topic_allowed(s, topic))
        return;
    switch (session_leave(s, topic)) {
    case LEAVE_OK:
        reply_unsubscribed(begin(s), topic);
        answer(s);
        break;
    case LEAVE_NOT_SUBSCRIBED:
        reply_not_subscribed(begin_error(s), topic);
        answer(s);
        break;
    case LEAVE_ENDED:
        break;
    }
}

static void list_topics(struct session *s, const struct command *c)
{
    struct worker *w = s->worker;
    struct topic_list list;
    if (!worker_may_list(w, s)) {
        session_error(s, TEXT(HERMES_TEXT_LISTINGS));
        return;
    }
    if (!topic_list_take(&list, &w->shop->route.registry, c->prefix, c->after, c->limit)) {
        session_error(s, TEXT(HERMES_TEXT_NO_TOPICS));
        return;
    }
    struct buf rows = {0};
    for (size_t i = 0; i < list.count; i++)
        reply_topics_row(&rows, list.rows[i].name, list.rows[i].subscribers);
    struct buf *out = begin(s);
    reply_topics(out, buf_text(&rows), list.more ? &list.rows[list.count - 1].name : NULL);
    out->failed |= rows.failed;
    buf_fini(&rows);
    size_t seen = list.seen;
    topic_list_fini(&list);
    answer(s);
    worker_listed(w, s, seen);
}

/* Whether the session may send one more message now. Refused ones count too, so that whoever goes
 * on and on falls so far behind that it is closed. */
static bool within_rate(struct session *s)
{
    struct worker *w = s->worker;
    int64_t limit = (int64_t)w->shop->limits.messages_per_second;
    if (limit == 0)
        return true;
    uint32_t now = (uint32_t)uv_now(&w->loop);
    int64_t earned = (int64_t)(now - s->allowance_ms) * limit / 1000;
    if (earned > 0) {
        int64_t allowance = s->allowance + earned;
        s->allowance = (int32_t)(allowance < limit ? allowance : limit);
        /* Only by what was counted: a fraction of a message is earned on. */
        s->allowance_ms =
            allowance < limit ? s->allowance_ms + (uint32_t)(earned * 1000 / limit) : now;
    }
    s->allowance--;
    if (s->allowance >= 0)
        return true;
    metric_add(&w->metrics, METRIC_limit_messages_per_second_total, 1);
    if (s->allowance < -limit)
        session_close(s, CLOSE_RATE);
    else
        session_error(s, TEXT(HERMES_TEXT_RATE));
    return false;
}

static bool on_message(void *user, enum ws_opcode opcode, char *payload, size_t len)
{
    struct session *s = user;
    metric_add(&s->worker->metrics, METRIC_commands_total, 1);
    if (!within_rate(s))
        return s->state == SESSION_OPEN;
    struct command command;
    if (opcode == WS_BINARY) {
        reply_binary(begin_error(s));
        answer(s);
        return s->state == SESSION_OPEN;
    }
    command_decode(&command, payload, len);
    if (command.kind != COMMAND_PUBLISH)
        worker_post_gathered(s->worker);
    switch (command.kind) {
    case COMMAND_PUBLISH:
        session_publish(s, command.topic, command.data);
        break;
    case COMMAND_SUBSCRIBE:
        subscribe(s, command.topic);
        break;
    case COMMAND_UNSUBSCRIBE:
        unsubscribe(s, command.topic);
        break;
    case COMMAND_TOPICS:
        list_topics(s, &command);
        break;
    case COMMAND_BAD_JSON:
        reply_bad_json(begin_error(s));
        answer(s);
        break;
    case COMMAND_MALFORMED:
        reply_malformed(begin_error(s));
        answer(s);
        break;
    case COMMAND_BAD_TOPIC:
        session_error(s, TEXT(HERMES_TEXT_TOPIC_NOT_UTF8));
        break;
    }
    return s->state == SESSION_OPEN;
}

static bool on_ping(void *user, const char *payload, size_t len)
{
    struct session *s = user;
    if (!s->blocked) {
        ws_frame(begin(s), WS_PONG, payload, len);
        answer(s);
    } else if (s->late_pong || (s->late_pong = malloc(sizeof *s->late_pong)) != NULL) {
        s->late_pong->len = (uint8_t)len;
        memcpy(s->late_pong->payload, payload, len);
    }
    return s->state == SESSION_OPEN;
}

static bool on_pong(void *user, const char *payload, size_t len)
{
    (void)user;
    (void)payload;
    (void)len;
    return true; /* having been heard is all that counts */
}

static bool on_close(void *user, int code, const char *reason, size_t len)
{
    struct session *s = user;
    (void)reason;
    (void)len;
    session_answer_close(s, code);
    return false;
}

static const struct ws_events events = {on_message, on_ping, on_pong, on_close};

/* --- after our own close frame: only the peer's is waited for --------------------------------- */

static bool ignore_message(void *user, enum ws_opcode opcode, char *payload, size_t len)
{
    (void)user;
    (void)opcode;
    (void)payload;
    (void)len;
    return true;
}

static bool ignore_control(void *user, const char *payload, size_t len)
{
    (void)user;
    (void)payload;
    (void)len;
    return true;
}

static bool on_last_close(void *user, int code, const char *reason, size_t len)
{
    struct session *s = user;
    (void)code;
    (void)reason;
    (void)len;
    s->peer_closed = true;
    return false;
}

static const struct ws_events last_events = {
    ignore_message, ignore_control, ignore_control, on_last_close};

static enum close_reason reason_of(int code)
{
    switch (code) {
    case WS_PROTOCOL_ERROR:
        return CLOSE_PROTOCOL;
    case WS_NOT_UTF8:
        return CLOSE_NOT_UTF8;
    case WS_POLICY:
        return CLOSE_FRAGMENTS;
    case WS_TOO_BIG:
        return CLOSE_TOO_LARGE;
    case WS_TRY_LATER:
        return CLOSE_HALF_RECEIVED;
    default:
        return CLOSE_NO_MEMORY;
    }
}

void session_receive(struct session *s, char *bytes, size_t len)
{
    bool open = s->state == SESSION_OPEN;
    int code =
        ws_feed(s->worker->readers, &s->reader, bytes, len, open ? &events : &last_events, s);
    worker_post_gathered(s->worker);
    if (code != 0 && s->state == SESSION_OPEN)
        session_close(s, reason_of(code));
    if (s->state == SESSION_CLOSING && s->peer_closed && outbox_empty(&s->out))
        session_end(s, CLOSE_PEER, false);
    /* A session that began to close in the midst of its input has lost its place in it. */
    else if (s->state == SESSION_CLOSING && (open || code != 0))
        s->deaf = true;
}
