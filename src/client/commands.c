/* Commands but publish, at either level. */
#include <stdlib.h>

#include "client/client.h"
#include "hermes/protocol.h"
#include "proto/json.h"

/* ---- composing: in the group's text buffer, up to the closing brace ---- */

static void begin(struct hermes_client *c, const char *type)
{
    struct buf *text = &c->group->text;
    buf_clear(text);
    buf_append_string(text, "{\"type\":\"");
    buf_append_string(text, type);
    buf_append_char(text, '"');
}

static void add_string(struct hermes_client *c, const char *key, struct text value)
{
    buf_append_string(&c->group->text, key);
    json_string_append(&c->group->text, value);
}

static void add_number(struct hermes_client *c, const char *key, uint64_t number)
{
    buf_append_string(&c->group->text, key);
    buf_append_number(&c->group->text, number);
}

static void add_since(struct hermes_client *c, struct text epoch, uint64_t offset)
{
    add_string(c, ",\"since\":{\"epoch\":", epoch);
    add_number(c, ",\"offset\":", offset);
    buf_append_char(&c->group->text, '}');
}

static void end(struct hermes_client *c)
{
    buf_append_char(&c->group->text, '}');
}

/* Level 2: gives the command a number, which is 0 without memory, and ends it. */
static uint64_t end_numbered(struct hermes_client *c, enum pending_kind kind, uint64_t token)
{
    uint64_t number = pending_add(&c->pending, kind, token);
    buf_append_string(&c->group->text, ",\"id\":");
    pending_id_append(&c->group->text, number);
    end(c);
    return number;
}

/* ---- sending: with the expectation of an answer, or not at all ---- */

static int send1(struct hermes_client *c, enum expected kind, struct text topic)
{
    bool expects = client_tells_apart(c);
    end(c);
    if (expects && !answers_expect(&c->answers, kind, topic))
        return HERMES_CLIENT_NO_MEMORY;
    int code = send_composed(c);
    if (code != HERMES_CLIENT_OK && expects)
        answers_unexpect(&c->answers, topic);
    return code;
}

/* `*number` may be NULL. */
static int send2(struct hermes_client *c, enum pending_kind kind, uint64_t token, uint64_t *number)
{
    uint64_t given = end_numbered(c, kind, token);
    if (!given)
        return HERMES_CLIENT_NO_MEMORY;
    int code = send_composed(c);
    if (code != HERMES_CLIENT_OK)
        pending_undo(&c->pending);
    else if (number)
        *number = given;
    return code;
}

/* ---- subscribe and unsubscribe ---- */

static const char *name_key(bool pattern)
{
    return pattern ? ",\"pattern\":" : ",\"topic\":";
}

static void compose_subscribe(struct hermes_client *c, struct text name, bool pattern)
{
    begin(c, HERMES_TYPE_SUBSCRIBE);
    add_string(c, name_key(pattern), name);
}

bool send_subscribe(struct hermes_client *c, struct buf *to, struct text topic)
{
    const struct buf *text = &c->group->text;
    compose_subscribe(c, topic, false);
    end(c);
    if (text->failed ||
        (client_tells_apart(c) && !answers_expect(&c->answers, EXPECT_SUBSCRIBED, topic)))
        return false;
    if (append_frame(c, to, WS_TEXT, text->data, text->len))
        return true;
    if (client_tells_apart(c))
        answers_unexpect(&c->answers, topic);
    return false;
}

static const char *const policies[] = {
    [HERMES_SLOW_DEFAULT] = NULL,
    [HERMES_SLOW_DISCONNECT] = HERMES_POLICY_DISCONNECT,
    [HERMES_SLOW_DROP_OLDEST] = HERMES_POLICY_DROP_OLDEST,
    [HERMES_SLOW_LATEST] = HERMES_POLICY_LATEST,
};

/* `begins`: with what is to come first. */
static void compose_subscribe2(struct hermes_client *c, const struct subscription *s, bool begins)
{
    compose_subscribe(c, subscription_name(s), s->pattern);
    if (begins && s->known)
        add_since(c, s->epoch, s->seen);
    else if (begins && s->replay)
        add_number(c, ",\"replay\":", s->replay);
    if (policies[s->policy])
        add_string(c, ",\"policy\":", text_of(policies[s->policy]));
    if (s->presence)
        buf_append_string(&c->group->text, ",\"presence\":true");
}

bool send_subscribe2(struct hermes_client *c, struct buf *to, struct subscription *s)
{
    const struct buf *text = &c->group->text;
    compose_subscribe2(c, s, true);
    s->command = end_numbered(c, PENDING_SUBSCRIBE, s->token);
    return s->command && !text->failed && append_frame(c, to, WS_TEXT, text->data, text->len);
}

static int subscribe1(struct hermes_client *c, struct text topic)
{
    bool had = wanted_find(&c->wanted, c->group->key, topic, false) != NULL;
    struct subscription *s = wanted_add(&c->wanted, c->group->key, topic, false);
    if (!s)
        return HERMES_CLIENT_NO_MEMORY;
    if (c->state != CLIENT_OPEN)
        return HERMES_CLIENT_OK;
    compose_subscribe(c, topic, false);
    int code = send1(c, EXPECT_SUBSCRIBED, topic);
    if (code != HERMES_CLIENT_OK && !had)
        wanted_remove(&c->wanted, c->group->key, s);
    return code;
}

/* What is subscribed already on this connection keeps its place; that is not for the options to
 * say. */
static int subscribe2(struct hermes_client *c, struct text name, bool pattern,
    const struct hermes_subscribe_options *o)
{
    struct subscription *had = wanted_find(&c->wanted, c->group->key, name, pattern);
    struct subscription *s = wanted_add(&c->wanted, c->group->key, name, pattern);
    if (!s)
        return HERMES_CLIENT_NO_MEMORY;
    struct subscription before = *s;
    bool begins = !had || c->state != CLIENT_OPEN;
    int code = HERMES_CLIENT_OK;
    s->policy = (uint8_t)o->policy;
    s->presence = o->presence;
    s->token = o->token;
    if (begins)
        s->replay = o->replay;
    if (begins && o->epoch &&
        !subscription_set(s, (struct text){o->epoch, o->epoch_len}, o->offset))
        code = HERMES_CLIENT_NO_MEMORY;
    if (code == HERMES_CLIENT_OK && c->state == CLIENT_OPEN) {
        uint64_t number;
        compose_subscribe2(c, s, begins);
        code = send2(c, PENDING_SUBSCRIBE, o->token, &number);
        if (code == HERMES_CLIENT_OK && begins)
            s->command = number;
    }
    if (code == HERMES_CLIENT_OK)
        return code;
    if (had)
        *s = before; /* its epoch is still that one: setting it is what failed, if it was tried */
    else
        wanted_remove(&c->wanted, c->group->key, s);
    return code;
}

static int unsubscribe(struct hermes_client *c, struct text name, bool pattern)
{
    struct subscription *s = wanted_find(&c->wanted, c->group->key, name, pattern);
    int code = HERMES_CLIENT_OK;
    if (!topic_valid(name))
        return HERMES_CLIENT_BAD_TOPIC;
    if (c->state == CLIENT_OPEN) {
        begin(c, HERMES_TYPE_UNSUBSCRIBE);
        add_string(c, name_key(pattern), name);
        code = c->level < 2 ? send1(c, EXPECT_UNSUBSCRIBED, name)
                            : send2(c, PENDING_OTHER, s ? s->token : 0, NULL);
    }
    if (code == HERMES_CLIENT_OK && s)
        wanted_remove(&c->wanted, c->group->key, s);
    return code;
}

int hermes_client_subscribe(struct hermes_client *c, const char *topic, size_t len)
{
    static const struct hermes_subscribe_options defaults;
    struct text t = {topic, len};
    if (!topic_valid(t))
        return HERMES_CLIENT_BAD_TOPIC;
    return c->level < 2 ? subscribe1(c, t) : subscribe2(c, t, false, &defaults);
}

int hermes_client_subscribe_with(struct hermes_client *c, const char *topic, size_t len,
    const struct hermes_subscribe_options *options)
{
    struct text t = {topic, len};
    if (c->level < 2)
        return HERMES_CLIENT_NOT_LEVEL;
    if (!topic_valid(t))
        return HERMES_CLIENT_BAD_TOPIC;
    if ((options->epoch && options->replay) || (unsigned)options->policy > HERMES_SLOW_LATEST)
        return HERMES_CLIENT_BAD_OPTION;
    return subscribe2(c, t, false, options);
}

int hermes_client_subscribe_pattern(struct hermes_client *c, const char *pattern, size_t len,
    const struct hermes_subscribe_options *options)
{
    static const struct hermes_subscribe_options defaults;
    struct text p = {pattern, len};
    const struct hermes_subscribe_options *o = options ? options : &defaults;
    if (c->level < 2)
        return HERMES_CLIENT_NOT_LEVEL;
    if (!topic_valid(p))
        return HERMES_CLIENT_BAD_TOPIC;
    if (o->epoch || o->replay || (unsigned)o->policy > HERMES_SLOW_LATEST)
        return HERMES_CLIENT_BAD_OPTION;
    return subscribe2(c, p, true, o);
}

int hermes_client_unsubscribe(struct hermes_client *c, const char *topic, size_t len)
{
    return unsubscribe(c, (struct text){topic, len}, false);
}

int hermes_client_unsubscribe_pattern(struct hermes_client *c, const char *pattern, size_t len)
{
    return c->level < 2 ? HERMES_CLIENT_NOT_LEVEL
                        : unsubscribe(c, (struct text){pattern, len}, true);
}

/* ---- questions ---- */

int hermes_client_topics(struct hermes_client *c, const char *prefix, size_t prefix_len,
    const char *after, size_t after_len, unsigned limit)
{
    struct text p = {prefix, prefix_len};
    struct text a = {after, after_len};
    if (c->state != CLIENT_OPEN)
        return HERMES_CLIENT_NOT_OPEN;
    if ((p.len && !topic_valid(p)) || (a.len && !topic_valid(a)))
        return HERMES_CLIENT_BAD_TOPIC;
    begin(c, HERMES_TYPE_TOPICS);
    if (p.len)
        add_string(c, ",\"prefix\":", p);
    if (a.len)
        add_string(c, ",\"after\":", a);
    if (limit)
        add_number(c, ",\"limit\":", limit);
    return c->level < 2 ? send1(c, EXPECT_TOPICS, (struct text){NULL, 0})
                        : send2(c, PENDING_OTHER, 0, NULL);
}

/* Begins a question about one topic. */
static int ask(struct hermes_client *c, const char *type, struct text topic)
{
    if (c->level < 2)
        return HERMES_CLIENT_NOT_LEVEL;
    if (!topic_valid(topic))
        return HERMES_CLIENT_BAD_TOPIC;
    if (c->state != CLIENT_OPEN)
        return HERMES_CLIENT_NOT_OPEN;
    begin(c, type);
    add_string(c, ",\"topic\":", topic);
    return HERMES_CLIENT_OK;
}

int hermes_client_history(struct hermes_client *c, const char *topic, size_t len,
    const struct hermes_history_options *options)
{
    int code = ask(c, HERMES_TYPE_HISTORY, (struct text){topic, len});
    if (code != HERMES_CLIENT_OK)
        return code;
    if (options && options->epoch)
        add_since(c, (struct text){options->epoch, options->epoch_len}, options->offset);
    if (options && options->limit)
        add_number(c, ",\"limit\":", options->limit);
    return send2(c, PENDING_OTHER, options ? options->token : 0, NULL);
}

int hermes_client_presence(struct hermes_client *c, const char *topic, size_t len, uint64_t token)
{
    int code = ask(c, HERMES_TYPE_PRESENCE, (struct text){topic, len});
    return code == HERMES_CLIENT_OK ? send2(c, PENDING_OTHER, token, NULL) : code;
}

int hermes_client_auth(struct hermes_client *c, const char *token, size_t len, uint64_t answer)
{
    if (!token_valid(token, len))
        return HERMES_CLIENT_BAD_OPTION;
    if (c->level == 2 && c->state == CLIENT_OPEN) {
        begin(c, HERMES_TYPE_AUTH);
        add_string(c, ",\"token\":", (struct text){token, len});
        int code = send2(c, PENDING_OTHER, answer, NULL);
        if (code != HERMES_CLIENT_OK)
            return code;
    }
    /* Without memory it is sent all the same: the connection has it, the next one would not. */
    return token_keep(c, token, len) ? HERMES_CLIENT_OK : HERMES_CLIENT_NO_MEMORY;
}
