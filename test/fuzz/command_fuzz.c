/* Commands: what holds of every decoded frame at both levels, and what jansson makes of the same
 * frame. */
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

static bool is_integer(const json_t *number, json_int_t least, json_int_t most)
{
    return json_is_integer(number) && json_integer_value(number) >= least &&
           json_integer_value(number) <= most;
}

static bool is_name(const json_t *name)
{
    return json_is_string(name) && json_string_length(name) > 0;
}

static bool is_flag(const json_t *flag)
{
    return !flag || json_is_boolean(flag);
}

static bool is_since(const json_t *since)
{
    const json_t *epoch = json_object_get(since, "epoch");
    return json_is_string(epoch) && json_string_length(epoch) <= 64 &&
           is_integer(json_object_get(since, "offset"), 0, INT64_MAX);
}

static bool is_policy(const json_t *policy)
{
    return is(policy, TEXT("disconnect")) || is(policy, TEXT("drop_oldest")) ||
           is(policy, TEXT("latest"));
}

static bool are_names(const json_t *names)
{
    bool good = json_array_size(names) > 0;
    for (size_t i = 0; i < json_array_size(names); i++)
        good = good && is_name(json_array_get(names, i));
    return good;
}

static bool is_id(const json_t *id)
{
    return !id || json_is_integer(id) ||
           (json_is_string(id) && json_string_length(id) <= COMMAND_ID_MAX);
}

/* COMMAND_BAD_JSON: none of that name. */
static enum command_kind kind_named(const json_t *type, int level)
{
    static const struct {
        const char *name;
        enum command_kind kind;
        int level;
    } types[] = {{"publish", COMMAND_PUBLISH, 1}, {"subscribe", COMMAND_SUBSCRIBE, 1},
        {"unsubscribe", COMMAND_UNSUBSCRIBE, 1}, {"topics", COMMAND_TOPICS, 1},
        {"presence", COMMAND_PRESENCE, 2}, {"history", COMMAND_HISTORY, 2},
        {"auth", COMMAND_AUTH, 2}, {"ping", COMMAND_PING, 2}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (level >= types[i].level && is(type, text_of(types[i].name)))
            return types[i].kind;
    return COMMAND_BAD_JSON;
}

/* Whether the fields of a subscribe or an unsubscribe are good. */
static bool is_subscription(const json_t *root, enum command_kind kind)
{
    const json_t *topic = json_object_get(root, "topic");
    const json_t *topics = json_object_get(root, "topics");
    const json_t *pattern = json_object_get(root, "pattern");
    const json_t *since = json_object_get(root, "since");
    const json_t *replay = json_object_get(root, "replay");
    const json_t *policy = json_object_get(root, "policy");
    if (!!topic + !!topics + !!pattern != 1)
        return false;
    if (topics ? !are_names(topics) : !is_name(topic ? topic : pattern))
        return false;
    if (kind == COMMAND_UNSUBSCRIBE)
        return true;
    if ((since && !(topic && !replay && is_since(since))) ||
        (replay && (pattern || !is_integer(replay, 0, INT64_MAX))))
        return false;
    return (!policy || is_policy(policy)) && is_flag(json_object_get(root, "presence"));
}

static bool is_listing(const json_t *root, int level)
{
    const json_t *prefix = json_object_get(root, "prefix");
    const json_t *after = json_object_get(root, "after");
    const json_t *limit = json_object_get(root, "limit");
    const json_t *pattern = level < 2 ? NULL : json_object_get(root, "pattern");
    return (!prefix || json_is_string(prefix)) && (!after || json_is_string(after)) &&
           (!limit || is_integer(limit, 1, COMMAND_LIMIT_MAX)) && (!pattern || is_name(pattern));
}

/* Whether a command of that kind has all its fields, and good ones. */
static bool is_whole(const json_t *root, enum command_kind kind, int level)
{
    const json_t *topic = json_object_get(root, "topic");
    const json_t *limit = json_object_get(root, "limit");
    const json_t *since = json_object_get(root, "since");
    if (level >= 2 && !is_id(json_object_get(root, "id")))
        return false;
    switch (kind) {
    case COMMAND_PUBLISH:
        return is_name(topic) && json_object_get(root, "data") &&
               (level < 2 || is_flag(json_object_get(root, "echo")));
    case COMMAND_SUBSCRIBE:
    case COMMAND_UNSUBSCRIBE:
        return level < 2 ? is_name(topic) : is_subscription(root, kind);
    case COMMAND_TOPICS:
        return is_listing(root, level);
    case COMMAND_PRESENCE:
        return is_name(topic);
    case COMMAND_HISTORY:
        return is_name(topic) && (!since || is_since(since)) &&
               (!limit || is_integer(limit, 1, COMMAND_LIMIT_MAX));
    case COMMAND_AUTH:
        return is_name(json_object_get(root, "token"));
    default:
        return kind == COMMAND_PING;
    }
}

static enum command_kind expected_kind(const json_t *root, int level)
{
    const json_t *type = json_object_get(root, "type");
    enum command_kind kind = type ? kind_named(type, level) : COMMAND_PUBLISH;
    return is_whole(root, kind, level) ? kind : COMMAND_MALFORMED;
}

static void check_subscribe(struct command *c, const json_t *root)
{
    const json_t *topics = json_object_get(root, "topics");
    const json_t *since = json_object_get(root, "since");
    json_int_t replay = json_integer_value(json_object_get(root, "replay"));
    struct text rest = c->topics;
    struct text name;
    MUST(may_be(json_object_get(root, "topic"), c->topic));
    MUST(may_be(json_object_get(root, "pattern"), c->pattern));
    for (size_t i = 0; i < json_array_size(topics); i++)
        MUST(command_next_topic(&rest, &name) && is(json_array_get(topics, i), name));
    MUST(!command_next_topic(&rest, &name));
    if (c->kind == COMMAND_UNSUBSCRIBE)
        return;
    MUST(c->has_since == !!since);
    MUST(c->replay == (replay < UINT32_MAX ? replay : UINT32_MAX));
    MUST(c->presence == json_is_true(json_object_get(root, "presence")));
    MUST(!!c->policy == !!json_object_get(root, "policy"));
}

static void check_id(const struct command *c, const json_t *root)
{
    const json_t *id = json_object_get(root, "id");
    if (!id || !is_id(id)) {
        MUST(c->id.len == 0);
        return;
    }
    json_t *given_back = load(c->id.at, c->id.len);
    MUST(json_equal(given_back, id));
    json_decref(given_back);
}

/* Of a frame that jansson took as it is, where both must mean the same. */
static void check_meaning(struct command *c, const json_t *root, int level)
{
    const json_t *topic = json_object_get(root, "topic");
    const json_t *limit = json_object_get(root, "limit");
    MUST(c->kind == expected_kind(root, level));
    if (level >= 2)
        check_id(c, root);
    switch (c->kind) {
    case COMMAND_PUBLISH: {
        json_t *data = load(c->data.at, c->data.len);
        MUST(json_equal(data, json_object_get(root, "data")));
        json_decref(data);
        MUST(is(topic, c->topic));
        MUST(c->quiet == (level >= 2 && json_is_false(json_object_get(root, "echo"))));
        break;
    }
    case COMMAND_SUBSCRIBE:
    case COMMAND_UNSUBSCRIBE:
        if (level < 2)
            MUST(is(topic, c->topic));
        else
            check_subscribe(c, root);
        break;
    case COMMAND_TOPICS:
        MUST(may_be(json_object_get(root, "prefix"), c->prefix));
        MUST(may_be(json_object_get(root, "after"), c->after));
        MUST(level < 2 || may_be(json_object_get(root, "pattern"), c->pattern));
        break;
    case COMMAND_PRESENCE:
    case COMMAND_HISTORY:
        MUST(is(topic, c->topic));
        break;
    case COMMAND_AUTH:
        MUST(is(json_object_get(root, "token"), c->token));
        break;
    default:
        break;
    }
    if (c->kind == COMMAND_TOPICS || c->kind == COMMAND_HISTORY)
        MUST(c->limit == (limit ? json_integer_value(limit) : COMMAND_LIMIT_DEFAULT));
    if (c->has_since) {
        const json_t *since = json_object_get(root, "since");
        MUST(is(json_object_get(since, "epoch"), c->epoch));
        MUST((json_int_t)c->since == json_integer_value(json_object_get(since, "offset")));
    }
}

static bool is_clear_of_level_2(const struct command *c)
{
    return !c->fault && !c->id.len && !c->topics.len && !c->pattern.len && !c->token.len &&
           !c->epoch.len && !c->since && !c->replay && !c->policy && !c->has_since &&
           !c->presence && !c->quiet;
}

/* What holds whatever was sent; `before` is the frame as it was. */
static void check_form(
    const struct command *c, const char *frame, const char *before, size_t size, int level)
{
    const struct text decoded[] = {
        c->topic, c->prefix, c->after, c->pattern, c->token, c->epoch, c->id};
    for (size_t i = 0; i < sizeof decoded / sizeof *decoded; i++)
        MUST(inside(decoded[i], frame, size) && utf8_valid(decoded[i].at, decoded[i].len));
    MUST(inside(c->data, frame, size) && inside(c->topics, frame, size));
    MUST(c->limit >= 1 && c->limit <= COMMAND_LIMIT_MAX);
    MUST(level >= 2 ? !c->fault == (c->kind != COMMAND_MALFORMED) : is_clear_of_level_2(c));
    if (c->id.len) {
        const char *start;
        const char *end = c->id.at + c->id.len;
        MUST(memcmp(c->id.at, before + (c->id.at - frame), c->id.len) == 0);
        MUST(json_value(c->id.at, end, &start) == end && start == c->id.at);
        MUST(c->id.len <= 6 * COMMAND_ID_MAX + 2);
    }
    if (c->kind == COMMAND_PUBLISH) {
        const char *start;
        const char *end = c->data.at + c->data.len;
        MUST(c->topic.len > 0 && c->data.len > 0);
        MUST(memcmp(c->data.at, before + (c->data.at - frame), c->data.len) == 0);
        MUST(json_value(c->data.at, end, &start) == end && start == c->data.at);
    } else if (c->kind == COMMAND_SUBSCRIBE || c->kind == COMMAND_UNSUBSCRIBE) {
        MUST(!!c->topic.len + !!c->topics.len + !!c->pattern.len == 1 && c->data.len == 0);
    }
}

static void check(const char *data, size_t size, int level)
{
    char *frame = malloc(size ? size : 1);
    MUST(frame);
    if (size)
        memcpy(frame, data, size);
    bool valid = json_valid(frame, size);
    struct command c;
    command_decode(&c, frame, size, level);

    /* Within the object `data` may nest as deep as a whole text may. */
    if (valid)
        MUST(c.kind != COMMAND_BAD_JSON);
    else if (c.kind != COMMAND_BAD_JSON)
        MUST(depth_of(data, size) == JSON_DEPTH_MAX + 1);
    check_form(&c, frame, data, size, level);

    json_t *root = size ? load(data, size) : NULL;
    if (root && c.kind != COMMAND_BAD_JSON) {
        MUST(c.kind != COMMAND_BAD_TOPIC && c.kind != COMMAND_BAD_PATTERN);
        if (json_is_object(root))
            check_meaning(&c, root, level);
        else
            MUST(c.kind == COMMAND_MALFORMED);
    } else {
        /* What jansson does not take, numbers out of its range among it. */
        struct text name;
        while (command_next_topic(&c.topics, &name))
            MUST(inside(name, frame, size) &&
                 (name.len > 0 || c.kind == COMMAND_BAD_TOPIC || c.kind == COMMAND_MALFORMED));
    }
    json_decref(root);
    free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!utf8_valid(data, size))
        return 0;
    check((const char *)data, size, 1);
    check((const char *)data, size, 2);
    return 0;
}
