#include "proto/reply.h"

#include "hermes/protocol.h"
#include "proto/json.h"
#include "proto/reply_frame.h"

static void reply_ack(struct buf *out, const char *type, const char *message, struct text topic)
{
    size_t frame = reply_frame_begin(out);
    buf_append_string(out, "{\"type\":\"");
    buf_append_string(out, type);
    buf_append_string(out, "\",\"topic\":");
    json_string_append(out, topic);
    buf_append_string(out, ",\"message\":\"");
    buf_append_string(out, message);
    json_escape_append(out, topic);
    buf_append_string(out, "\"}");
    reply_frame_end(out, frame);
}

/* `behind` follows the message and may be empty. */
static void reply_message(
    struct buf *out, const char *type, struct text message, struct text behind)
{
    size_t frame = reply_frame_begin(out);
    buf_append_string(out, "{\"type\":\"");
    buf_append_string(out, type);
    buf_append_string(out, "\",\"message\":\"");
    json_escape_append(out, message);
    json_escape_append(out, behind);
    buf_append_string(out, "\"}");
    reply_frame_end(out, frame);
}

void reply_info(struct buf *out)
{
    struct text message =
        TEXT(HERMES_TEXT_INFO_START " Send {\"type\":\"subscribe\",\"topic\":\"...\"} to receive, "
                                    "{\"topic\":\"...\",\"data\":...} to publish.");
    reply_message(out, HERMES_TYPE_INFO, message, TEXT(""));
}

void reply_subscribed(struct buf *out, struct text topic)
{
    reply_ack(out, HERMES_TYPE_ACK_SUBSCRIBE, HERMES_TEXT_SUBSCRIBED, topic);
}

void reply_unsubscribed(struct buf *out, struct text topic)
{
    reply_ack(out, HERMES_TYPE_ACK_UNSUBSCRIBE, HERMES_TEXT_UNSUBSCRIBED, topic);
}

void reply_not_subscribed(struct buf *out, struct text topic)
{
    reply_message(out, HERMES_TYPE_ERROR, TEXT(HERMES_TEXT_NOT_SUBSCRIBED), topic);
}

void reply_error(struct buf *out, struct text message)
{
    reply_message(out, HERMES_TYPE_ERROR, message, TEXT(""));
}

void reply_bad_json(struct buf *out)
{
    reply_error(out, TEXT(HERMES_TEXT_BAD_JSON));
}

void reply_malformed(struct buf *out)
{
    reply_error(out, TEXT(HERMES_TEXT_MALFORMED_START
                         " {\"type\":\"subscribe\"|\"unsubscribe\",\"topic\":\"...\"} "
                         "or {\"topic\":\"...\",\"data\":...}."));
}

void reply_binary(struct buf *out)
{
    reply_error(out, TEXT(HERMES_TEXT_BINARY));
}

void reply_topics_row(struct buf *rows, struct text topic, size_t subscribers)
{
    if (rows->len)
        buf_append_char(rows, ',');
    buf_append_string(rows, "{\"topic\":");
    json_string_append(rows, topic);
    buf_append_string(rows, ",\"subscribers\":");
    buf_append_number(rows, subscribers);
    buf_append_char(rows, '}');
}

void reply_topics(struct buf *out, struct text rows, const struct text *next)
{
    size_t frame = reply_frame_begin(out);
    buf_append_string(out, "{\"type\":\"" HERMES_TYPE_TOPICS "\",\"topics\":[");
    buf_append_text(out, rows);
    buf_append_char(out, ']');
    if (next) {
        buf_append_string(out, ",\"next\":");
        json_string_append(out, *next);
    }
    buf_append_char(out, '}');
    reply_frame_end(out, frame);
}
