#include "client/answers.h"

#include <string.h>

#include "client/scan.h"
#include "hermes/protocol.h"
#include "proto/json.h"

/* One expectation in the queue: a head, then the topic. */
struct expectation {
    enum expected kind;
    size_t topic_len;
};

static const struct text nothing = {NULL, 0};

bool answers_expect(struct answers *a, enum expected kind, struct text topic)
{
    struct expectation e = {kind, topic.len};
    if (a->head > 4096 && a->head > a->queue.len / 2) {
        a->queue.len -= a->head;
        memmove(a->queue.data, a->queue.data + a->head, a->queue.len);
        a->head = 0;
    }
    if (!buf_reserve(&a->queue, sizeof e + topic.len)) {
        a->queue.failed = false;
        return false;
    }
    buf_append(&a->queue, &e, sizeof e);
    buf_append_text(&a->queue, topic);
    return true;
}

void answers_unexpect(struct answers *a, struct text topic)
{
    a->queue.len -= sizeof(struct expectation) + topic.len;
}

void answers_clear(struct answers *a)
{
    buf_fini(&a->queue);
    a->head = 0;
}

/* Finds the oldest expectation of that kind whose topic stands in `raw` (NULL: any), and answers it
 * and all before it when `message` is what it has to be. */
static bool take(struct answers *a, enum expected kind, const struct text *raw,
    const struct text *message, struct text message_start)
{
    for (size_t at = a->head; at < a->queue.len;) {
        struct expectation e;
        memcpy(&e, a->queue.data + at, sizeof e);
        struct text topic = {a->queue.data + at + sizeof e, e.topic_len};
        at += sizeof e + e.topic_len;
        if (e.kind != kind || (raw && !scan_string_is(*raw, topic, nothing, true)) ||
            (message && !scan_string_is(*message, message_start, topic, true)))
            continue;
        a->head = at;
        if (a->head == a->queue.len)
            answers_clear(a);
        return true;
    }
    return false;
}

/* A raw string becomes the text it stands for; one that UTF-8 cannot hold stays as it is. */
static void decode(struct text raw, const char **at, size_t *len)
{
    struct text decoded;
    char *writable = (char *)(uintptr_t)raw.at;
    if (!json_string_decode(writable, raw.len, &decoded))
        decoded = (struct text){raw.at + 1, raw.len - 2};
    *at = decoded.at;
    *len = decoded.len;
}

static bool match_info(enum answers_when when, struct scan *s, struct hermes_answer *out)
{
    struct text message;
    if (when != ANSWERS_FIRST || !scan_mark(s, ',') || !scan_key(s, "message") ||
        !scan_string(s, &message) || !scan_mark(s, '}') || !scan_end(s))
        return false;
    out->kind = HERMES_ANSWER_INFO;
    decode(message, &out->message, &out->message_len);
    return true;
}

static bool is_known_error(struct text message)
{
    static const char *const errors[] = {HERMES_TEXT_BAD_JSON, HERMES_TEXT_BINARY,
        HERMES_TEXT_TOPIC_LONG, HERMES_TEXT_TOPIC_CONTROL, HERMES_TEXT_TOPIC_NOT_UTF8,
        HERMES_TEXT_SUBSCRIPTIONS, HERMES_TEXT_LISTINGS, HERMES_TEXT_RATE,
        HERMES_TEXT_NOT_PUBLISHED, HERMES_TEXT_NO_SUBSCRIPTION, HERMES_TEXT_NO_TOPICS,
        HERMES_TEXT_ALONE, HERMES_TEXT_MAY_NOT_SUBSCRIBE, HERMES_TEXT_MAY_NOT_PUBLISH,
        HERMES_TEXT_TOO_LARGE};
    static const char *const starts[] = {
        HERMES_TEXT_MALFORMED_START, HERMES_TEXT_TOKEN_EXPIRES_START};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (scan_string_is(message, text_of(errors[i]), nothing, true))
            return true;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (scan_string_is(message, text_of(starts[i]), nothing, false))
            return true;
    return false;
}

static bool match_error(
    struct answers *a, enum answers_when when, struct scan *s, struct hermes_answer *out)
{
    struct text message;
    if (!scan_mark(s, ',') || !scan_key(s, "message") || !scan_string(s, &message) ||
        !scan_mark(s, '}') || !scan_end(s))
        return false;
    struct text not_subscribed = TEXT(HERMES_TEXT_NOT_SUBSCRIBED);
    if (take(a, EXPECT_UNSUBSCRIBED, NULL, &message, not_subscribed)) {
        out->kind = HERMES_ANSWER_NOT_SUBSCRIBED;
        decode(message, &out->message, &out->message_len);
        out->topic = out->message + not_subscribed.len;
        out->topic_len = out->message_len - not_subscribed.len;
        return true;
    }
    if (when == ANSWERS_SUBSCRIBED && !is_known_error(message))
        return false;
    out->kind = HERMES_ANSWER_ERROR;
    decode(message, &out->message, &out->message_len);
    return true;
}

static bool match_ack(struct answers *a, enum expected kind, struct scan *s,
    struct hermes_answer *out, struct text start)
{
    struct text topic;
    struct text message;
    if (!scan_mark(s, ',') || !scan_key(s, "topic") || !scan_string(s, &topic) ||
        !scan_mark(s, ',') || !scan_key(s, "message") || !scan_string(s, &message) ||
        !scan_mark(s, '}') || !scan_end(s) || !take(a, kind, &topic, &message, start))
        return false;
    out->kind = kind == EXPECT_SUBSCRIBED ? HERMES_ANSWER_SUBSCRIBED : HERMES_ANSWER_UNSUBSCRIBED;
    decode(topic, &out->topic, &out->topic_len);
    decode(message, &out->message, &out->message_len);
    return true;
}

static bool match_topics(struct answers *a, struct scan *s, struct hermes_answer *out)
{
    struct text rows;
    struct text next = nothing;
    if (!scan_mark(s, ',') || !scan_key(s, "topics") || !scan_value(s, &rows) || rows.at[0] != '[')
        return false;
    if (scan_sees(s, ',') && (!scan_mark(s, ',') || !scan_key(s, "next") || !scan_string(s, &next)))
        return false;
    if (!scan_mark(s, '}') || !scan_end(s) || !take(a, EXPECT_TOPICS, NULL, NULL, nothing))
        return false;
    out->kind = HERMES_ANSWER_TOPICS;
    out->rows = rows.at + 1;
    out->rows_end = rows.at + rows.len - 1;
    if (next.at)
        decode(next, &out->next, &out->next_len);
    return true;
}

bool answers_match(
    struct answers *a, enum answers_when when, char *text, size_t len, struct hermes_answer *out)
{
    static const struct {
        const char *type;
        enum hermes_answer_kind kind;
    } types[] = {
        {HERMES_TYPE_ACK_SUBSCRIBE, HERMES_ANSWER_SUBSCRIBED},
        {HERMES_TYPE_ACK_UNSUBSCRIBE, HERMES_ANSWER_UNSUBSCRIBED},
        {HERMES_TYPE_TOPICS, HERMES_ANSWER_TOPICS},
        {HERMES_TYPE_ERROR, HERMES_ANSWER_ERROR},
        {HERMES_TYPE_INFO, HERMES_ANSWER_INFO},
    };
    struct scan s = {text, text + len};
    if (!scan_sees(&s, '{') || !scan_mark(&s, '{') || !scan_key(&s, "type") || !scan_mark(&s, '"'))
        return false;
    *out = (struct hermes_answer){0};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        size_t type_len = strlen(types[i].type);
        if ((size_t)(s.end - s.at) <= type_len || memcmp(s.at, types[i].type, type_len) != 0 ||
            s.at[type_len] != '"')
            continue;
        s.at += type_len + 1;
        switch (types[i].kind) {
        case HERMES_ANSWER_SUBSCRIBED:
            return match_ack(a, EXPECT_SUBSCRIBED, &s, out, TEXT(HERMES_TEXT_SUBSCRIBED));
        case HERMES_ANSWER_UNSUBSCRIBED:
            return match_ack(a, EXPECT_UNSUBSCRIBED, &s, out, TEXT(HERMES_TEXT_UNSUBSCRIBED));
        case HERMES_ANSWER_TOPICS:
            return match_topics(a, &s, out);
        case HERMES_ANSWER_ERROR:
            return match_error(a, when, &s, out);
        default:
            return match_info(when, &s, out);
        }
    }
    return false;
}
