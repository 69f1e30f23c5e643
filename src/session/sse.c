#include "session/sse.h"

#include "broker/pattern.h"
#include "broker/topic_name.h"
#include "hermes/protocol.h"
#include "proto/command.h"
#include "proto/event_stream.h"
#include "proto/percent.h"
#include "session/bearer.h"
#include "session/greet.h"
#include "session/parked.h"
#include "session/worker.h"

/* How long a client waits before it comes back, so that not all come at once. */
enum { RETRY_LEAST_MS = 1000, RETRY_SPREAD_MS = 2000 };

/* --- refusals --------------------------------------------------------------------------------- */

static void refuse(
    struct session *s, const struct request *request, const struct event_stream_refusal *refusal)
{
    struct worker *w = s->worker;
    bool may =
        refusal->code != ERROR_FORBIDDEN || origins_allow(&w->shop->origins, request->origin);
    buf_clear(&w->scratch);
    event_stream_refuse(
        &w->scratch, refusal, may ? request->origin : (struct text){NULL, 0}, request->head_only);
    greet_answer(s);
}

void sse_refuse(struct session *s, const struct request *request, const struct admission *refusal)
{
    enum error_code code = refusal->status == 400   ? ERROR_MALFORMED
                           : refusal->status == 401 ? ERROR_UNAUTHORIZED
                           : refusal->status == 403 ? ERROR_FORBIDDEN
                                                    : ERROR_UNAVAILABLE;
    refuse(s, request,
        &(struct event_stream_refusal){.status = refusal->status,
            .code = code,
            .message = text_of(refusal->text),
            .retry_s = refusal->retry_s});
}

void sse_preflight(struct session *s, const struct request *request)
{
    struct worker *w = s->worker;
    if (!origins_allow(&w->shop->origins, request->origin)) {
        sse_refuse(s, request,
            &(struct admission){.status = 403, .text = "Pages of this origin may not ask."});
        return;
    }
    buf_clear(&w->scratch);
    event_stream_preflight(&w->scratch, request->origin);
    greet_answer(s);
}

/* --- what it asks for ------------------------------------------------------------------------- */

/* One topic or pattern of the query. */
struct want {
    struct text name;
    bool is_pattern;
    bool has_since;
    struct text epoch;
    uint64_t offset;
};

struct query {
    struct buf texts; /* decoded: room for all of them was made first, so that they stay */
    struct buf wants; /* struct want */
    uint32_t replay;
    struct event_stream_refusal fault; /* `status` 0: none */
};

static struct want *wants_of(const struct query *q, size_t *count)
{
    *count = q->wants.len / sizeof(struct want);
    return (struct want *)(void *)q->wants.data;
}

static bool fail(struct query *q, enum error_code code, const char *text)
{
    q->fault = (struct event_stream_refusal){.status = code == ERROR_FORBIDDEN     ? 403
                                                       : code == ERROR_UNAVAILABLE ? 503
                                                                                   : 400,
        .code = code,
        .message = text_of(text)};
    return false;
}

static bool decode(struct query *q, struct text value, struct text *out)
{
    size_t at = q->texts.len;
    if (!percent_decode(&q->texts, value, true))
        return fail(
            q, ERROR_MALFORMED, "The query is not well-formed: % wants two digits behind it.");
    *out = (struct text){q->texts.data + at, q->texts.len - at};
    return true;
}

static bool read_number(struct query *q, struct text value)
{
    uint64_t n = 0;
    for (size_t i = 0; i < value.len; i++) {
        unsigned digit = (unsigned char)value.at[i] - '0';
        if (digit > 9)
            value.len = 0;
        n = n > UINT32_MAX ? n : n * 10 + digit;
    }
    if (value.len == 0)
        return fail(q, ERROR_MALFORMED, "replay must be a number.");
    q->replay = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    return true;
}

static bool read_since(struct query *q, struct text value)
{
    size_t count;
    struct want *wants = wants_of(q, &count);
    struct want *last = count > 0 ? &wants[count - 1] : NULL;
    if (!last || last->is_pattern || last->has_since)
        return fail(q, ERROR_MALFORMED, "since belongs behind the topic that it is of, once.");
    last->has_since = event_stream_position(value, &last->epoch, &last->offset);
    return last->has_since ||
           fail(q, ERROR_MALFORMED, "since must be EPOCH:OFFSET, an event's id.");
}

/* The session, whose limits and grants these are. */
static bool may_have(struct session *s, struct query *q, const struct want *want)
{
    struct worker *w = s->worker;
    size_t most = w->shop->limits.topic_bytes;
    struct text name = want->name;
    const char *fault = want->is_pattern ? pattern_fault(name, most) : topic_name_fault(name, most);
    if (fault) {
        if (most != 0 && name.len > most)
            metric_add(&w->metrics, METRIC_limit_topic_bytes_total, 1);
        return fail(q, want->is_pattern ? ERROR_BAD_PATTERN : ERROR_BAD_TOPIC, fault);
    }
    if (want->is_pattern ? session_may_pattern(s, name)
                         : session_may(s, GRANT_SUBSCRIBE, worker_rule(w, name).rule, name))
        return true;
    metric_add(&w->metrics, METRIC_forbidden_total, 1);
    fail(q, ERROR_FORBIDDEN,
        want->is_pattern ? HERMES_TEXT_MAY_NOT_PATTERN : HERMES_TEXT_MAY_NOT_SUBSCRIBE);
    *(want->is_pattern ? &q->fault.pattern : &q->fault.topic) = name;
    return false;
}

static bool read_field(struct session *s, struct query *q, struct text name, struct text value)
{
    bool is_pattern = text_equal(name, TEXT("pattern"));
    bool is_topic = text_equal(name, TEXT("topic"));
    struct text text;
    if (!is_pattern && !is_topic && !text_equal(name, TEXT("since")) &&
        !text_equal(name, TEXT("replay")))
        return true;
    if (!decode(q, value, &text))
        return false;
    if (is_pattern || is_topic) {
        struct want want = {.name = text, .is_pattern = is_pattern};
        buf_append(&q->wants, &want, sizeof want);
        return may_have(s, q, &want);
    }
    return text_equal(name, TEXT("since")) ? read_since(q, text) : read_number(q, text);
}

/* An id that cannot be read is a position that cannot be recovered from. */
static void read_last_id(struct query *q, const struct http_head *head)
{
    const struct http_header *id = http_find(head, "Last-Event-ID");
    size_t count;
    struct want *wants = wants_of(q, &count);
    if (!id || id->value.len == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        struct want *want = &wants[i];
        want->has_since = true;
        if (!event_stream_position(id->value, &want->epoch, &want->offset))
            want->epoch = TEXT("");
    }
}

/* False, and `fault` says why. */
static bool read_query(struct session *s, struct query *q, const struct http_head *head)
{
    struct worker *w = s->worker;
    struct text rest = head->query;
    struct text name;
    struct text value;
    size_t most = w->shop->limits.subscriptions;
    buf_reserve(&q->texts, rest.len + 1);
    while (!q->texts.failed && query_next(&rest, &name, &value))
        if (!read_field(s, q, name, value))
            return q->texts.failed ? fail(q, ERROR_UNAVAILABLE, HERMES_TEXT_NO_SUBSCRIPTION)
                                   : false;
    if (q->texts.failed || q->wants.failed)
        return fail(q, ERROR_UNAVAILABLE, HERMES_TEXT_NO_SUBSCRIPTION);
    if (q->wants.len == 0)
        return fail(
            q, ERROR_MALFORMED, "Name what to subscribe to: /sse?topic=... or ?pattern=...");
    if (most != 0 && q->wants.len / sizeof(struct want) > most) {
        metric_add(&w->metrics, METRIC_limit_subscriptions_total, 1);
        return fail(q, ERROR_TOO_MANY_SUBSCRIPTIONS, HERMES_TEXT_SUBSCRIPTIONS);
    }
    read_last_id(q, head);
    return true;
}

/* --- the stream ------------------------------------------------------------------------------- */

static bool write_info(struct session *s, const struct request *request)
{
    struct worker *w = s->worker;
    buf_clear(&w->scratch);
    event_stream_head(&w->scratch, request->origin);
    event_stream_retry(&w->scratch, RETRY_LEAST_MS + s->client % RETRY_SPREAD_MS);
    event_stream_info(&w->scratch, s->client);
    return greet_open(s);
}

/* One of those before it waits. */
static void subscribe_later(struct session *s, const struct command *c)
{
    struct buf text = {0};
    far_command_write(&text, s, c, &c->topic, 1);
    if (text.failed)
        session_close(s, CLOSE_NO_MEMORY);
    else
        session_park(s, text.data, text.len);
    buf_fini(&text);
}

static void subscribe(struct session *s, const struct query *q)
{
    size_t count;
    const struct want *wants = wants_of(q, &count);
    for (size_t i = 0; i < count && s->state == SESSION_OPEN; i++) {
        const struct want *want = &wants[i];
        struct command c = {.kind = COMMAND_SUBSCRIBE,
            .has_since = want->has_since,
            .epoch = want->epoch,
            .since = want->offset,
            .replay = q->replay};
        *(want->is_pattern ? &c.pattern : &c.topic) = want->name;
        if (s->parked)
            subscribe_later(s, &c);
        else
            session_subscribe(s, &c);
    }
}

void sse_open(struct session *s, const struct http_head *head, const struct request *request)
{
    struct query q = {.replay = 0};
    if (request->head_only) {
        q.fault = (struct event_stream_refusal){
            .status = 405, .code = ERROR_MALFORMED, .message = TEXT("A stream wants GET.")};
    } else if (read_query(s, &q, head)) {
        s->enveloped = true;
        s->deaf = true;
        s->conn.unframed = true;
        s->client = greet_client(s->worker);
        if (write_info(s, request))
            subscribe(s, &q);
    }
    if (q.fault.status != 0) {
        greet_note_refused(
            s, METRIC_handshake_failures_total, q.fault.status, error_code_name(q.fault.code));
        refuse(s, request, &q.fault);
    }
    buf_fini(&q.texts);
    buf_fini(&q.wants);
}

/* --- sending ---------------------------------------------------------------------------------- */

const struct buf *sse_events(struct worker *w, struct text frames, uint64_t epoch)
{
    buf_clear(&w->events);
    event_stream_append(&w->events, frames, epoch);
    return &w->events;
}

void sse_send(struct session *s, const struct buf *events)
{
    if (!events->failed) {
        session_send_bytes(s, buf_text(events));
        return;
    }
    s->unremembered = true;
    worker_touch(s->worker, s);
}

void sse_send_position(struct session *s, const struct route_joined *joined)
{
    struct buf *events = &s->worker->events;
    const struct history_view *past = &joined->past;
    bool replays = past->first <= past->last;
    buf_clear(events);
    event_stream_id(events, joined->epoch, replays ? past->first - 1 : joined->offset);
    sse_send(s, events);
}

/* --- whether anybody is there ----------------------------------------------------------------- */

void sse_pinged(struct session *s)
{
    if (!conn_acknowledged(&s->conn, &s->ahead))
        s->ahead = 0;
}

bool sse_acknowledged(struct session *s)
{
    uint32_t bytes;
    return conn_acknowledged(&s->conn, &bytes) ? bytes != s->ahead
                                               : conn_unacknowledged(&s->conn) == 0;
}
