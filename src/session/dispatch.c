/* What an open session's frames ask for. */
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "hermes/protocol.h"
#include "proto/reply.h"
#include "proto/ws_out.h"
#include "session/answer.h"
#include "session/aside.h"
#include "session/bearer.h"
#include "session/far.h"
#include "session/parked.h"
#include "session/worker.h"

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
    return false;
}

/* More messages than one in a frame. Nobody is closed for these alone. */
static void charge(struct session *s, unsigned messages)
{
    int64_t limit = (int64_t)s->worker->shop->limits.messages_per_second;
    int64_t left = s->allowance - (int64_t)messages;
    if (limit != 0)
        s->allowance = (int32_t)(left > -limit ? left : -limit);
}

/* What was too much is read for its id alone. */
static void answer_too_many(struct session *s, enum ws_opcode opcode, char *payload, size_t len)
{
    struct command command = {.kind = COMMAND_PING};
    if (s->enveloped && opcode == WS_TEXT)
        command_decode(&command, payload, len, 2);
    answer_error(
        s, &(struct fault){
               .code = ERROR_RATE_LIMITED, .message = TEXT(HERMES_TEXT_RATE), .id = command.id});
}

/* At level 1 the sentence says all that is understood; at level 2 what is wrong with this one. */
static void answer_malformed(struct session *s, const struct command *c)
{
    if (c->fault) {
        answer_error(
            s, &(struct fault){.code = ERROR_MALFORMED, .message = text_of(c->fault), .id = c->id});
        return;
    }
    metric_add(&s->worker->metrics, METRIC_errors_sent_total, 1);
    reply_malformed(answer_begin(s));
    answer_send(s);
}

static void answer_pong(struct session *s, const struct command *c)
{
    reply2_pong(answer_begin(s), c->id);
    answer_send(s);
}

static void obey(struct session *s, struct command *c)
{
    switch (c->kind) {
    case COMMAND_PUBLISH:
        session_publish(s, c);
        break;
    case COMMAND_SUBSCRIBE:
        session_subscribe(s, c);
        break;
    case COMMAND_UNSUBSCRIBE:
        session_unsubscribe(s, c);
        break;
    case COMMAND_TOPICS:
        session_list_topics(s, c);
        break;
    case COMMAND_PRESENCE:
        session_ask_presence(s, c);
        break;
    case COMMAND_HISTORY:
        session_tell_history(s, c);
        break;
    case COMMAND_AUTH:
        session_authenticate(s, c);
        break;
    case COMMAND_PING:
        answer_pong(s, c);
        break;
    case COMMAND_BAD_JSON:
        answer_error(
            s, &(struct fault){.code = ERROR_BAD_JSON, .message = TEXT(HERMES_TEXT_BAD_JSON)});
        break;
    case COMMAND_MALFORMED:
        answer_malformed(s, c);
        break;
    case COMMAND_BAD_TOPIC:
        answer_error(s,
            &(struct fault){
                .code = ERROR_BAD_TOPIC, .message = TEXT(HERMES_TEXT_TOPIC_NOT_UTF8), .id = c->id});
        break;
    case COMMAND_BAD_PATTERN:
        answer_error(s, &(struct fault){.code = ERROR_BAD_PATTERN,
                            .message = TEXT(HERMES_TEXT_PATTERN_NOT_UTF8),
                            .id = c->id});
        break;
    }
}

/* Whether what the session has published may be on its way to the cluster still. */
static bool may_await_publishes(const struct session *s)
{
    const struct worker *w = s->worker;
    return w->shop->route.backplane && (w->gathered.message || session_publishes_far(s));
}

static inline void obey_new(struct session *s, struct command *command, bool again)
{
    if (command->names > 1 && !again)
        charge(s, command->names - 1);
    obey(s, command);
}

void session_obey(struct session *s, char *text, size_t len, bool again)
{
    struct worker *w = s->worker;
    struct command command;
    struct text before = {NULL, 0};
    if (may_await_publishes(s)) { /* reading changes the text */
        buf_clear(&w->untouched);
        buf_append(&w->untouched, text, len);
        if (w->untouched.failed) {
            w->untouched.failed = false;
            session_close(s, CLOSE_NO_MEMORY);
            return;
        }
        before = buf_text(&w->untouched);
    }
    command_decode(&command, text, len, s->enveloped ? 2 : 1);
    bool publish = command.kind == COMMAND_PUBLISH;
    if (!publish)
        worker_post_gathered(w);
    /* Its answer is the sign that the session has seen all that it has published itself. */
    if (!publish && before.at && session_publishes_far(s)) {
        session_park_behind_publishes(s, before, again);
    } else {
        if (!publish)
            answer_published_first(s);
        if (publish || s->state == SESSION_OPEN)
            obey_new(s, &command, again);
    }
    if (publish)
        return;
    explicit_bzero(text, len); /* there may be a token in it */
    if (before.at)
        explicit_bzero(w->untouched.data, w->untouched.len);
}

/* Where nothing has to wait. */
static inline void obey_alone(struct session *s, char *text, size_t len)
{
    struct command command;
    command_decode(&command, text, len, s->enveloped ? 2 : 1);
    if (command.kind != COMMAND_PUBLISH)
        worker_post_gathered(s->worker);
    obey_new(s, &command, false);
    if (command.kind == COMMAND_AUTH)
        explicit_bzero(text, len);
}

static bool on_message(void *user, enum ws_opcode opcode, char *payload, size_t len)
{
    struct session *s = user;
    metric_add(&s->worker->metrics, METRIC_commands_total, 1);
    if (!within_rate(s)) {
        if (s->state == SESSION_OPEN)
            answer_too_many(s, opcode, payload, len);
        return s->state == SESSION_OPEN;
    }
    if (opcode == WS_BINARY) {
        answer_error(
            s, &(struct fault){.code = ERROR_MALFORMED, .message = TEXT(HERMES_TEXT_BINARY)});
        return s->state == SESSION_OPEN;
    }
    if (!s->worker->shop->route.backplane)
        obey_alone(s, payload, len);
    else if (s->parked)
        session_park(s, payload, len);
    else
        session_obey(s, payload, len, false);
    return s->state == SESSION_OPEN;
}

static bool on_ping(void *user, const char *payload, size_t len)
{
    struct session *s = user;
    bool later = session_answers_later(s);
    if (!s->blocked || later) {
        ws_frame(later ? answer_begin_here(s) : answer_begin(s), WS_PONG, payload, len);
        answer_in_turn(s, later);
    } else if (session_aside(s)) {
        s->aside->pong_len = (uint8_t)len;
        memcpy(s->aside->pong, payload, len);
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
