#include <string.h>

#include "base/utf8.h"
#include "client/client.h"
#include "hermes/protocol.h"
#include "proto/json.h"
#include "proto/ws_out.h"

bool append_frame(
    struct hermes_client *c, struct buf *to, enum ws_opcode opcode, const void *payload, size_t len)
{
    uint8_t key[4];
    group_random(c->group, key, sizeof key);
    ws_frame_masked(to, opcode, payload, len, key);
    bool done = !to->failed;
    to->failed = false;
    return done;
}

bool send_frame(struct hermes_client *c, enum ws_opcode opcode, const void *payload, size_t len)
{
    group_lend(c->group, &c->out);
    if (!append_frame(c, &c->out, opcode, payload, len))
        return false;
    if (client_connected(c))
        group_due(c->group, &c->due);
    return true;
}

/* Whether `len` more bytes of payload may be queued. */
static int room(const struct hermes_client *c, size_t len)
{
    size_t max = c->settings.max_queued;
    if (len > max || len + WS_HEAD_MAX > max)
        return HERMES_CLIENT_TOO_LARGE;
    size_t queued = hermes_client_queued_bytes(c);
    return queued > max || max - queued < len + WS_HEAD_MAX ? HERMES_CLIENT_FULL : HERMES_CLIENT_OK;
}

int send_composed(struct hermes_client *c)
{
    const struct buf *text = &c->group->text;
    if (text->failed)
        return HERMES_CLIENT_NO_MEMORY;
    int code = room(c, text->len);
    if (code == HERMES_CLIENT_OK && !send_frame(c, WS_TEXT, text->data, text->len))
        code = HERMES_CLIENT_NO_MEMORY;
    return code;
}

bool topic_valid(struct text topic)
{
    if (topic.len == 0 || !utf8_valid(topic.at, topic.len))
        return false;
    for (size_t i = 0; i < topic.len; i++) {
        unsigned char c = (unsigned char)topic.at[i];
        /* U+0080 to U+009F are C2 80 to C2 9F. */
        if (c < ' ' || c == 0x7f || (c == 0xc2 && (unsigned char)topic.at[i + 1] < 0xa0))
            return false;
    }
    return true;
}

/* What both publishes check. */
static int publish_check(
    const struct hermes_client *c, struct text topic, const char *data, size_t data_len)
{
    if (!topic_valid(topic))
        return HERMES_CLIENT_BAD_TOPIC;
    if (!utf8_valid(data, data_len) || !json_valid(data, data_len))
        return HERMES_CLIENT_NOT_JSON;
    return data_len > c->settings.max_queued ? HERMES_CLIENT_TOO_LARGE : HERMES_CLIENT_OK;
}

static void compose_publish(struct buf *text, struct text topic, const char *data, size_t data_len)
{
    buf_append_string(text, "\"topic\":");
    json_string_append(text, topic);
    buf_append_string(text, ",\"data\":");
    buf_append(text, data, data_len);
}

int hermes_client_publish(
    struct hermes_client *c, const char *topic, size_t topic_len, const char *data, size_t data_len)
{
    struct text t = {topic, topic_len};
    struct buf *text = &c->group->text;
    int code = publish_check(c, t, data, data_len);
    if (code != HERMES_CLIENT_OK)
        return code;
    buf_clear(text);
    buf_append_char(text, '{');
    compose_publish(text, t, data, data_len);
    buf_append_char(text, '}');
    return send_composed(c);
}

int hermes_client_publish_with(struct hermes_client *c, const char *topic, size_t topic_len,
    const char *data, size_t data_len, const struct hermes_publish_options *options)
{
    struct text t = {topic, topic_len};
    struct buf *text = &c->group->text;
    int code = c->level < 2 ? HERMES_CLIENT_NOT_LEVEL : publish_check(c, t, data, data_len);
    if (code != HERMES_CLIENT_OK)
        return code;
    buf_clear(text);
    buf_append_char(text, '{');
    if (options->ack) {
        uint64_t number = pending_add(&c->pending, PENDING_PUBLISH, options->token);
        if (!number)
            return HERMES_CLIENT_NO_MEMORY;
        buf_append_string(text, "\"id\":");
        pending_id_append(text, number);
        buf_append_char(text, ',');
    }
    compose_publish(text, t, data, data_len);
    buf_append_string(text, options->no_echo ? ",\"echo\":false}" : "}");
    code = send_composed(c);
    if (code != HERMES_CLIENT_OK && options->ack)
        pending_undo(&c->pending);
    return code;
}

int hermes_client_send_text(struct hermes_client *c, const char *text, size_t len)
{
    int code = room(c, len);
    if (code != HERMES_CLIENT_OK)
        return code;
    if (!utf8_valid(text, len))
        return HERMES_CLIENT_NOT_UTF8;
    return send_frame(c, WS_TEXT, text, len) ? HERMES_CLIENT_OK : HERMES_CLIENT_NO_MEMORY;
}

int hermes_client_confirm(struct hermes_client *c, uint64_t token)
{
    if (c->state != CLIENT_OPEN)
        return HERMES_CLIENT_NOT_OPEN;
    int code = room(c, sizeof token);
    if (code == HERMES_CLIENT_OK && !send_frame(c, WS_PING, &token, sizeof token))
        code = HERMES_CLIENT_NO_MEMORY;
    return code;
}
