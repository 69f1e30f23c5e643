#include <string.h>

#include "base/utf8.h"
#include "client/client.h"
#include "hermes/protocol.h"
#include "proto/json.h"
#include "proto/ws_out.h"

static bool append_frame(
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

/* What the group's text buffer holds, as one frame. */
static int send_composed(struct hermes_client *c)
{
    const struct buf *text = &c->group->text;
    if (text->failed)
        return HERMES_CLIENT_NO_MEMORY;
    int code = room(c, text->len);
    if (code == HERMES_CLIENT_OK && !send_frame(c, WS_TEXT, text->data, text->len))
        code = HERMES_CLIENT_NO_MEMORY;
    return code;
}

static bool topic_valid(struct text topic)
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

static void compose_command(struct hermes_client *c, const char *type, struct text topic)
{
    struct buf *text = &c->group->text;
    buf_clear(text);
    buf_append_string(text, "{\"type\":\"");
    buf_append_string(text, type);
    buf_append_string(text, "\",\"topic\":");
    json_string_append(text, topic);
    buf_append_char(text, '}');
}

bool send_subscribe(struct hermes_client *c, struct buf *to, struct text topic)
{
    const struct buf *text = &c->group->text;
    compose_command(c, HERMES_TYPE_SUBSCRIBE, topic);
    if (text->failed ||
        (client_tells_apart(c) && !answers_expect(&c->answers, EXPECT_SUBSCRIBED, topic)))
        return false;
    if (append_frame(c, to, WS_TEXT, text->data, text->len))
        return true;
    if (client_tells_apart(c))
        answers_unexpect(&c->answers, topic);
    return false;
}

/* Sends the composed command and expects its answer: both, or neither. */
static int send_command(struct hermes_client *c, enum expected kind, struct text topic)
{
    bool expects = client_tells_apart(c);
    if (expects && !answers_expect(&c->answers, kind, topic))
        return HERMES_CLIENT_NO_MEMORY;
    int code = send_composed(c);
    if (code != HERMES_CLIENT_OK && expects)
        answers_unexpect(&c->answers, topic);
    return code;
}

int hermes_client_subscribe(struct hermes_client *c, const char *topic, size_t len)
{
    struct text t = {topic, len};
    if (!topic_valid(t))
        return HERMES_CLIENT_BAD_TOPIC;
    bool had = wanted_has(&c->wanted, c->group->key, t);
    if (!wanted_add(&c->wanted, c->group->key, t))
        return HERMES_CLIENT_NO_MEMORY;
    if (c->state != CLIENT_OPEN)
        return HERMES_CLIENT_OK;
    compose_command(c, HERMES_TYPE_SUBSCRIBE, t);
    int code = send_command(c, EXPECT_SUBSCRIBED, t);
    if (code != HERMES_CLIENT_OK && !had)
        wanted_remove(&c->wanted, c->group->key, t);
    return code;
}

int hermes_client_unsubscribe(struct hermes_client *c, const char *topic, size_t len)
{
    struct text t = {topic, len};
    int code = HERMES_CLIENT_OK;
    if (!topic_valid(t))
        return HERMES_CLIENT_BAD_TOPIC;
    if (c->state == CLIENT_OPEN) {
        compose_command(c, HERMES_TYPE_UNSUBSCRIBE, t);
        code = send_command(c, EXPECT_UNSUBSCRIBED, t);
    }
    if (code == HERMES_CLIENT_OK)
        wanted_remove(&c->wanted, c->group->key, t);
    return code;
}

int hermes_client_topics(struct hermes_client *c, const char *prefix, size_t prefix_len,
    const char *after, size_t after_len, unsigned limit)
{
    struct text p = {prefix, prefix_len};
    struct text a = {after, after_len};
    struct buf *text = &c->group->text;
    if (c->state != CLIENT_OPEN)
        return HERMES_CLIENT_NOT_OPEN;
    if ((p.len && !topic_valid(p)) || (a.len && !topic_valid(a)))
        return HERMES_CLIENT_BAD_TOPIC;
    buf_clear(text);
    buf_append_string(text, "{\"type\":\"" HERMES_TYPE_TOPICS "\"");
    if (p.len) {
        buf_append_string(text, ",\"prefix\":");
        json_string_append(text, p);
    }
    if (a.len) {
        buf_append_string(text, ",\"after\":");
        json_string_append(text, a);
    }
    if (limit) {
        buf_append_string(text, ",\"limit\":");
        buf_append_number(text, limit);
    }
    buf_append_char(text, '}');
    return send_command(c, EXPECT_TOPICS, (struct text){NULL, 0});
}

int hermes_client_publish(
    struct hermes_client *c, const char *topic, size_t topic_len, const char *data, size_t data_len)
{
    struct text t = {topic, topic_len};
    struct buf *text = &c->group->text;
    if (!topic_valid(t))
        return HERMES_CLIENT_BAD_TOPIC;
    if (!utf8_valid(data, data_len) || !json_valid(data, data_len))
        return HERMES_CLIENT_NOT_JSON;
    if (data_len > c->settings.max_queued)
        return HERMES_CLIENT_TOO_LARGE;
    buf_clear(text);
    buf_append_string(text, "{\"topic\":");
    json_string_append(text, t);
    buf_append_string(text, ",\"data\":");
    buf_append(text, data, data_len);
    buf_append_char(text, '}');
    return send_composed(c);
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
