/* Commands: what holds of every decoded frame, and what jansson makes of the same frame. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "fuzz/json_support.h"
#include "proto/command.h"
#include "proto/json.h"

static bool inside(struct text t, const char *frame, size_t len)
{
    return t.len == 0 || (t.at >= frame && t.at + t.len <= frame + len);
}

static bool is(const json_t *string, struct text t)
{
    return json_is_string(string) && json_string_length(string) == t.len &&
           memcmp(json_string_value(string), t.at, t.len) == 0;
}

/* The same for an optional field, of which the empty text stands for absence. */
static bool may_be(const json_t *string, struct text t)
{
    return string ? is(string, t) : t.len == 0;
}

static enum command_kind expected_kind(const json_t *root)
{
    const json_t *type = json_object_get(root, "type");
    const json_t *topic = json_object_get(root, "topic");
    const json_t *limit = json_object_get(root, "limit");
    const json_t *prefix = json_object_get(root, "prefix");
    const json_t *after = json_object_get(root, "after");
    enum command_kind kind = COMMAND_PUBLISH;
    if (type && is(type, TEXT("subscribe")))
        kind = COMMAND_SUBSCRIBE;
    else if (type && is(type, TEXT("unsubscribe")))
        kind = COMMAND_UNSUBSCRIBE;
    else if (type && is(type, TEXT("topics")))
        kind = COMMAND_TOPICS;
    else if (type && !is(type, TEXT("publish")))
        return COMMAND_MALFORMED;
    if (kind == COMMAND_TOPICS) {
        bool good = (!prefix || json_is_string(prefix)) && (!after || json_is_string(after)) &&
                    (!limit || (json_is_integer(limit) && json_integer_value(limit) >= 1 &&
                                   json_integer_value(limit) <= TOPICS_LIMIT_MAX));
        return good ? kind : COMMAND_MALFORMED;
    }
    if (kind == COMMAND_PUBLISH && !json_object_get(root, "data"))
        return COMMAND_MALFORMED;
    return json_is_string(topic) && json_string_length(topic) ? kind : COMMAND_MALFORMED;
}

/* Of a frame that jansson took as it is, where both must mean the same. */
static void check_meaning(const struct command *c, const json_t *root)
{
    MUST(c->kind == expected_kind(root));
    if (c->kind == COMMAND_TOPICS) {
        const json_t *limit = json_object_get(root, "limit");
        MUST(may_be(json_object_get(root, "prefix"), c->prefix));
        MUST(may_be(json_object_get(root, "after"), c->after));
        MUST(c->limit == (limit ? json_integer_value(limit) : TOPICS_LIMIT_DEFAULT));
    } else if (c->kind != COMMAND_MALFORMED) {
        MUST(is(json_object_get(root, "topic"), c->topic));
    }
    if (c->kind == COMMAND_PUBLISH) {
        json_t *data = load(c->data.at, c->data.len);
        MUST(json_equal(data, json_object_get(root, "data")));
        json_decref(data);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!utf8_valid(data, size))
        return 0;
    char *frame = malloc(size ? size : 1);
    MUST(frame);
    if (size)
        memcpy(frame, data, size);
    bool valid = json_valid(frame, size);
    struct command c;
    command_decode(&c, frame, size);

    /* Within the object `data` may nest as deep as a whole text may. */
    if (valid)
        MUST(c.kind != COMMAND_BAD_JSON);
    else if (c.kind != COMMAND_BAD_JSON)
        MUST(depth_of((const char *)data, size) == JSON_DEPTH_MAX + 1);
    MUST(c.limit >= 1 && c.limit <= TOPICS_LIMIT_MAX);
    MUST(inside(c.topic, frame, size) && inside(c.data, frame, size));
    MUST(inside(c.prefix, frame, size) && inside(c.after, frame, size));
    MUST(utf8_valid(c.topic.at, c.topic.len));
    MUST(utf8_valid(c.prefix.at, c.prefix.len) && utf8_valid(c.after.at, c.after.len));
    switch (c.kind) {
    case COMMAND_PUBLISH: {
        const char *start;
        MUST(c.topic.len > 0 && c.data.len > 0);
        MUST(memcmp(c.data.at, data + (c.data.at - frame), c.data.len) == 0);
        MUST(json_value(c.data.at, c.data.at + c.data.len, &start) == c.data.at + c.data.len);
        MUST(start == c.data.at);
        break;
    }
    case COMMAND_SUBSCRIBE:
    case COMMAND_UNSUBSCRIBE:
        MUST(c.topic.len > 0 && c.data.len == 0);
        break;
    default:
        break;
    }

    json_t *root = size ? load((const char *)data, size) : NULL;
    if (root && c.kind != COMMAND_BAD_JSON) {
        MUST(c.kind != COMMAND_BAD_TOPIC);
        if (json_is_object(root))
            check_meaning(&c, root);
        else
            MUST(c.kind == COMMAND_MALFORMED);
    }
    json_decref(root);
    free(frame);
    return 0;
}
