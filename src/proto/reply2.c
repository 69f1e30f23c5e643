#include "proto/reply2.h"

#include "hermes/protocol.h"
#include "proto/json.h"
#include "proto/reply_frame.h"

static const char *const codes[] = {
    [ERROR_BAD_JSON] = HERMES_ERROR_BAD_JSON,
    [ERROR_MALFORMED] = HERMES_ERROR_MALFORMED,
    [ERROR_BAD_TOPIC] = HERMES_ERROR_BAD_TOPIC,
    [ERROR_BAD_PATTERN] = HERMES_ERROR_BAD_PATTERN,
    [ERROR_NOT_SUBSCRIBED] = HERMES_ERROR_NOT_SUBSCRIBED,
    [ERROR_UNAUTHORIZED] = HERMES_ERROR_UNAUTHORIZED,
    [ERROR_FORBIDDEN] = HERMES_ERROR_FORBIDDEN,
    [ERROR_TOKEN_EXPIRED] = HERMES_ERROR_TOKEN_EXPIRED,
    [ERROR_RATE_LIMITED] = HERMES_ERROR_RATE_LIMITED,
    [ERROR_TOO_MANY_SUBSCRIPTIONS] = HERMES_ERROR_TOO_MANY_SUBSCRIPTIONS,
    [ERROR_TOO_LARGE] = HERMES_ERROR_TOO_LARGE,
    [ERROR_NO_HISTORY] = HERMES_ERROR_NO_HISTORY,
    [ERROR_UNAVAILABLE] = HERMES_ERROR_UNAVAILABLE,
};

const char *error_code_name(enum error_code code)
{
    return codes[code];
}

static void write_hex(char digits[16], uint64_t n)
{
    for (int i = 16; i-- > 0; n >>= 4)
        digits[i] = "0123456789abcdef"[n & 15];
}

struct epoch_text epoch_text(uint64_t epoch)
{
    struct epoch_text t = {.len = epoch ? sizeof t.digits : 0};
    write_hex(t.digits, epoch);
    return t;
}

uint64_t epoch_read(struct text text)
{
    uint64_t epoch = 0;
    if (text.len != EPOCH_DIGITS)
        return 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (c >= '0' && c <= '9')
            epoch = epoch << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            epoch = epoch << 4 | (uint64_t)(c - 'a' + 10);
        else
            return 0;
    }
    return epoch;
}

/* Each of these appends one piece of an object, of which {"type":"..." is the first. */

static size_t begin(struct buf *out, const char *type)
{
    size_t frame = reply_frame_begin(out);
    buf_append_string(out, "{\"type\":\"");
    buf_append_string(out, type);
    buf_append_char(out, '"');
    return frame;
}

static void add_string(struct buf *out, const char *key, struct text value)
{
    buf_append_string(out, key);
    json_string_append(out, value);
}

static void add_number(struct buf *out, const char *key, uint64_t n)
{
    buf_append_string(out, key);
    buf_append_number(out, n);
}

static void add_message(struct buf *out, struct text message, struct text behind)
{
    buf_append_string(out, ",\"message\":\"");
    json_escape_append(out, message);
    json_escape_append(out, behind);
    buf_append_char(out, '"');
}

static void add_epoch(struct buf *out, uint64_t epoch, uint64_t offset)
{
    struct epoch_text t = epoch_text(epoch);
    buf_append_string(out, ",\"epoch\":\"");
    buf_append(out, t.digits, t.len);
    add_number(out, "\",\"offset\":", offset);
}

static void add_recovered(struct buf *out, enum recovered recovered)
{
    if (recovered != RECOVERED_UNASKED)
        buf_append_string(
            out, recovered == RECOVERED_YES ? ",\"recovered\":true" : ",\"recovered\":false");
}

void reply2_client(struct buf *out, uint64_t client)
{
    char string[18] = {'"', [17] = '"'};
    write_hex(string + 1, client);
    buf_append(out, string, sizeof string);
}

static void end(struct buf *out, size_t frame, struct text id)
{
    if (id.len) {
        buf_append_string(out, ",\"id\":");
        buf_append_text(out, id);
    }
    buf_append_char(out, '}');
    reply_frame_end(out, frame);
}

void reply2_info(struct buf *out, uint64_t client)
{
    size_t frame = begin(out, HERMES_TYPE_INFO);
    add_message(out,
        TEXT(HERMES_TEXT_INFO_START " Send {\"type\":\"subscribe\",\"topic\":\"...\"} to receive, "
                                    "{\"topic\":\"...\",\"data\":...} to publish."),
        TEXT(""));
    buf_append_string(out, ",\"client\":");
    reply2_client(out, client);
    end(out, frame, TEXT(""));
}

void reply2_subscribed(struct buf *out, struct text id, struct text topic, uint64_t epoch,
    uint64_t offset, enum recovered recovered)
{
    size_t frame = begin(out, HERMES_TYPE_ACK_SUBSCRIBE);
    add_string(out, ",\"topic\":", topic);
    add_message(out, TEXT(HERMES_TEXT_SUBSCRIBED), topic);
    add_epoch(out, epoch, offset);
    add_recovered(out, recovered);
    end(out, frame, id);
}

void reply2_subscribed_pattern(struct buf *out, struct text id, struct text pattern)
{
    size_t frame = begin(out, HERMES_TYPE_ACK_SUBSCRIBE);
    add_string(out, ",\"pattern\":", pattern);
    add_message(out, TEXT(HERMES_TEXT_SUBSCRIBED), pattern);
    end(out, frame, id);
}

void reply2_unsubscribed(struct buf *out, struct text id, struct text topic)
{
    size_t frame = begin(out, HERMES_TYPE_ACK_UNSUBSCRIBE);
    add_string(out, ",\"topic\":", topic);
    add_message(out, TEXT(HERMES_TEXT_UNSUBSCRIBED), topic);
    end(out, frame, id);
}

void reply2_unsubscribed_pattern(struct buf *out, struct text id, struct text pattern)
{
    size_t frame = begin(out, HERMES_TYPE_ACK_UNSUBSCRIBE);
    add_string(out, ",\"pattern\":", pattern);
    add_message(out, TEXT(HERMES_TEXT_UNSUBSCRIBED), pattern);
    end(out, frame, id);
}

void reply2_published(
    struct buf *out, struct text id, struct text topic, uint64_t offset, uint64_t subscribers)
{
    size_t frame = begin(out, HERMES_TYPE_ACK_PUBLISH);
    add_string(out, ",\"topic\":", topic);
    add_number(out, ",\"offset\":", offset);
    add_number(out, ",\"subscribers\":", subscribers);
    end(out, frame, id);
}

void reply2_pong(struct buf *out, struct text id)
{
    end(out, begin(out, HERMES_TYPE_PONG), id);
}

void reply2_authenticated(struct buf *out, struct text id, const uint64_t *expires)
{
    size_t frame = begin(out, HERMES_TYPE_ACK_AUTH);
    if (expires)
        add_number(out, ",\"expires\":", *expires);
    end(out, frame, id);
}

void reply2_error(struct buf *out, enum error_code code, struct text message, struct text id,
    struct text topic, struct text pattern)
{
    size_t frame = begin(out, HERMES_TYPE_ERROR);
    bool names = message.len && message.at[message.len - 1] == ' ';
    buf_append_string(out, ",\"code\":\"");
    buf_append_string(out, error_code_name(code));
    buf_append_char(out, '"');
    add_message(out, message, !names ? TEXT("") : topic.len ? topic : pattern);
    if (topic.len)
        add_string(out, ",\"topic\":", topic);
    if (pattern.len)
        add_string(out, ",\"pattern\":", pattern);
    end(out, frame, id);
}

void reply2_topics(struct buf *out, struct text id, struct text rows, const struct text *next)
{
    size_t frame = begin(out, HERMES_TYPE_TOPICS);
    buf_append_string(out, ",\"topics\":[");
    buf_append_text(out, rows);
    buf_append_char(out, ']');
    if (next)
        add_string(out, ",\"next\":", *next);
    end(out, frame, id);
}

void reply2_history_row(struct buf *rows, uint64_t offset, struct text data)
{
    add_number(rows, rows->len ? ",{\"offset\":" : "{\"offset\":", offset);
    buf_append_string(rows, ",\"data\":");
    buf_append_text(rows, data);
    buf_append_char(rows, '}');
}

void reply2_history(struct buf *out, struct text id, struct text topic, uint64_t epoch,
    uint64_t offset, struct text rows, enum recovered recovered)
{
    size_t frame = begin(out, HERMES_TYPE_HISTORY);
    add_string(out, ",\"topic\":", topic);
    add_epoch(out, epoch, offset);
    add_recovered(out, recovered);
    buf_append_string(out, ",\"messages\":[");
    buf_append_text(out, rows);
    buf_append_char(out, ']');
    end(out, frame, id);
}

void reply2_presence_row(struct buf *rows, uint64_t client)
{
    if (rows->len)
        buf_append_char(rows, ',');
    reply2_client(rows, client);
}

void reply2_presence(struct buf *out, struct text id, struct text topic, struct text rows)
{
    size_t frame = begin(out, HERMES_TYPE_PRESENCE);
    add_string(out, ",\"topic\":", topic);
    buf_append_string(out, ",\"clients\":[");
    buf_append_text(out, rows);
    buf_append_char(out, ']');
    end(out, frame, id);
}

void reply2_presence_event(struct buf *out, bool joined, struct text topic, uint64_t client)
{
    size_t frame = begin(out, joined ? HERMES_TYPE_JOIN : HERMES_TYPE_LEAVE);
    add_string(out, ",\"topic\":", topic);
    buf_append_string(out, ",\"client\":");
    reply2_client(out, client);
    end(out, frame, TEXT(""));
}

void reply2_reconnect(struct buf *out, uint64_t after_ms)
{
    size_t frame = begin(out, HERMES_TYPE_RECONNECT);
    add_number(out, ",\"after_ms\":", after_ms);
    end(out, frame, TEXT(""));
}

static size_t begin_gap(struct buf *out, struct text topic_json, uint64_t from, uint64_t to)
{
    size_t frame = begin(out, HERMES_TYPE_GAP);
    buf_append_string(out, ",\"topic\":");
    buf_append_text(out, topic_json);
    add_number(out, ",\"from\":", from);
    add_number(out, ",\"to\":", to);
    return frame;
}

void reply2_gap(struct buf *out, struct text topic_json, uint64_t from, uint64_t to)
{
    size_t frame = begin_gap(out, topic_json, from, to);
    end(out, frame, TEXT(""));
}

void reply2_gap_anew(
    struct buf *out, struct text topic_json, uint64_t epoch, uint64_t from, uint64_t to)
{
    struct epoch_text text = epoch_text(epoch);
    size_t frame = begin_gap(out, topic_json, from, to);
    add_string(out, ",\"epoch\":", (struct text){text.digits, text.len});
    end(out, frame, TEXT(""));
}

void reply2_gap_pattern(struct buf *out, struct text pattern)
{
    size_t frame = begin(out, HERMES_TYPE_GAP);
    add_string(out, ",\"pattern\":", pattern);
    end(out, frame, TEXT(""));
}
