#include "proto/envelope.h"

#include <string.h>

#include "hermes/protocol.h"
#include "proto/json.h"
#include "proto/ws_out.h"

#define BEFORE_TOPIC "{\"type\":\"" HERMES_TYPE_MESSAGE "\",\"topic\":"
#define BEFORE_DATA ",\"data\":"
#define BEFORE_OFFSET ",\"offset\":"
#define BEFORE_PATTERN ",\"pattern\":"

_Static_assert(sizeof BEFORE_TOPIC == ENVELOPE_TOPIC_AT + 1, "where the header says it is");

enum { OFFSET_MAX = 20 /* digits of a uint64_t */ };

void envelope_set(struct envelope *e, struct text topic, struct text pattern)
{
    buf_clear(&e->head);
    buf_append_string(&e->head, BEFORE_TOPIC);
    json_string_append(&e->head, topic);
    e->topic_len = e->head.len - ENVELOPE_TOPIC_AT;
    buf_append_string(&e->head, BEFORE_DATA);

    buf_clear(&e->tail);
    if (pattern.len) {
        buf_append_string(&e->tail, BEFORE_PATTERN);
        json_string_append(&e->tail, pattern);
    }
    buf_append_char(&e->tail, '}');
}

void envelope_fini(struct envelope *e)
{
    buf_fini(&e->head);
    buf_fini(&e->tail);
    e->topic_len = 0;
}

static char *put(char *at, const void *bytes, size_t len)
{
    memcpy(at, bytes, len);
    return at + len;
}

void envelope_append(struct buf *out, const struct envelope *e, struct text data, uint64_t offset)
{
    const size_t before_len = sizeof BEFORE_OFFSET - 1;
    if (e->head.failed || e->tail.failed) {
        out->failed = true;
        return;
    }
    char digits[OFFSET_MAX];
    size_t first = sizeof digits;
    do
        digits[--first] = (char)('0' + offset % 10);
    while ((offset /= 10) != 0);
    size_t digits_len = sizeof digits - first;

    size_t len = e->head.len + data.len + before_len + digits_len + e->tail.len;
    if (!buf_reserve(out, WS_HEAD_MAX + len))
        return;
    char *at = out->data + out->len;
    at += ws_head((uint8_t *)at, WS_TEXT, len);
    at = put(at, e->head.data, e->head.len);
    at = put(at, data.at, data.len);
    at = put(at, BEFORE_OFFSET, before_len);
    at = put(at, digits + first, digits_len);
    at = put(at, e->tail.data, e->tail.len);
    out->len = (size_t)(at - out->data);
}
