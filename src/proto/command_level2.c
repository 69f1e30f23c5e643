#include "hermes/protocol.h"
#include "proto/command_fields.h"

enum { ID_RAW_MAX = 6 * COMMAND_ID_MAX + 2, EPOCH_MAX = 64 };

/* The fault is static, so that nothing a peer has written is in it. */
static enum command_kind malformed(struct command *c, const char *fault)
{
    c->fault = fault;
    return COMMAND_MALFORMED;
}

static bool is_string(struct text raw)
{
    return raw.len != 0 && raw.at[0] == '"';
}

/* Decodes a string in place; false for what is none, and for a lone surrogate. */
static bool read_string(char *frame, struct text raw, struct text *out)
{
    return is_string(raw) && json_string_decode(frame + (raw.at - frame), raw.len, out);
}

/* The same for a field that may be absent. */
static bool read_optional(char *frame, struct text raw, struct text *out)
{
    return raw.len == 0 || read_string(frame, raw, out);
}

static bool read_flag(struct text raw, bool *flag)
{
    *flag = IS(raw, "true");
    return raw.len == 0 || *flag || IS(raw, "false");
}

bool command_integer(struct text raw, uint64_t least, uint64_t most, uint64_t *number)
{
    bool negative = raw.len != 0 && raw.at[0] == '-';
    uint64_t n = 0;
    if (raw.len == negative)
        return false;
    for (size_t i = negative; i < raw.len; i++) {
        unsigned digit = (unsigned char)(raw.at[i] - '0');
        if (digit > 9 || n > most / 10)
            return false; /* no integer, or larger already */
        n = n * 10 + digit;
    }
    *number = n;
    return n >= least && n <= most && !(negative && n != 0);
}

static bool read_limit(struct command *c, struct text raw)
{
    uint64_t limit = COMMAND_LIMIT_DEFAULT;
    if (raw.len != 0 && !command_integer(raw, 1, COMMAND_LIMIT_MAX, &limit)) {
        c->fault = "limit must be an integer from 1 to 1000.";
        return false;
    }
    c->limit = (unsigned)limit;
    return true;
}

/* At most 64 bytes when decoded, and UTF-8 can stand for it. The id is given back as it came, so it
 * is a copy that is decoded. */
static bool id_fits(struct text raw)
{
    char copy[ID_RAW_MAX];
    struct text decoded;
    if (raw.len > sizeof copy)
        return false;
    if (!memchr(raw.at, '\\', raw.len))
        return raw.len - 2 <= COMMAND_ID_MAX;
    memcpy(copy, raw.at, raw.len);
    return json_string_decode(copy, raw.len, &decoded) && decoded.len <= COMMAND_ID_MAX;
}

static bool is_id(struct text raw)
{
    if (raw.at[0] == '"')
        return id_fits(raw);
    size_t at = raw.at[0] == '-';
    for (size_t i = at; i < raw.len; i++)
        if ((unsigned char)(raw.at[i] - '0') > 9)
            return false;
    return raw.len > at && raw.len <= COMMAND_ID_MAX;
}

/* Scanned already, as all that is looked at here: every value is there. */
static bool read_since(struct command *c, struct text raw, char *frame)
{
    struct text epoch = {0};
    struct text offset = {0};
    const char *end = raw.at + raw.len;
    if (raw.at[0] != '{')
        return false;
    const char *at = json_space(raw.at + 1, end);
    while (*at == '"') {
        const char *key_end;
        const char *value = json_key(at, end, &key_end);
        struct text key = {at, (size_t)(key_end - at)};
        char copy[WORD_RAW_MAX];
        struct text name;
        if (!unescape(key, copy, &name))
            name = unquoted(key);
        at = json_value(value, end, &value);
        struct text member = {value, (size_t)(at - value)};
        if (IS(name, "epoch"))
            epoch = member;
        else if (IS(name, "offset"))
            offset = member;
        at = json_space(at, end);
        if (*at == ',')
            at = json_space(at + 1, end);
    }
    c->has_since = read_string(frame, epoch, &c->epoch) && c->epoch.len <= EPOCH_MAX &&
                   command_integer(offset, 0, INT64_MAX, &c->since);
    return c->has_since;
}

/* 'h' or 'l' where a high or low surrogate's escape is at `at`, else 0. */
static char surrogate(const char *at, const char *end)
{
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u' || (at[2] | 0x20) != 'd')
        return 0;
    char third = (char)(at[3] | 0x20);
    return third < '8' ? 0 : third >= 'c' ? 'l' : 'h';
}

static bool has_lone_surrogate(struct text string)
{
    const char *end = string.at + string.len;
    const char *at = string.at;
    while ((at = memchr(at, '\\', (size_t)(end - at))) != NULL) {
        char kind = surrogate(at, end);
        if (kind == 0)
            at += 2;
        else if (kind == 'h' && surrogate(at + 6, end) == 'l')
            at += 12;
        else
            return true;
    }
    return false;
}

static const char names_fault[] = "topics must be an array of 1 to 1000 strings.";

/* Looks at all names before anything is done with the first of them. */
static enum command_kind check_names(struct command *c, struct text raw, enum command_kind kind)
{
    const char *end = raw.at + raw.len;
    const char *at = raw.at[0] == '[' ? json_space(raw.at + 1, end) : end;
    if (at == end || *at == ']')
        return malformed(c, names_fault);
    bool lone = false;
    c->names = 0;
    while (*at != ']') {
        const char *start;
        at = json_value(at, end, &start);
        struct text name = {start, (size_t)(at - start)};
        if (name.at[0] != '"' || name.len == 2)
            return malformed(c, "topics must be an array of strings, none of them empty.");
        if (++c->names > HERMES_TOPICS_MAX)
            return malformed(c, names_fault);
        lone = lone || has_lone_surrogate(name);
        at = json_space(at, end);
        if (*at == ',')
            at = json_space(at + 1, end);
    }
    c->topics = raw;
    return lone ? COMMAND_BAD_TOPIC : kind;
}

static enum command_kind read_topic(
    struct command *c, const struct fields *f, enum command_kind kind, char *frame)
{
    struct text raw = f->at[FIELD_TOPIC];
    if (!is_string(raw) || raw.len == 2)
        return malformed(c, "topic must be a string that is not empty.");
    if (f->plain_topic) {
        c->topic = unquoted(raw);
        return kind;
    }
    return read_string(frame, raw, &c->topic) ? kind : COMMAND_BAD_TOPIC;
}

static enum command_kind read_pattern(
    struct command *c, struct text raw, enum command_kind kind, char *frame)
{
    if (!is_string(raw) || raw.len == 2)
        return malformed(c, "pattern must be a string that is not empty.");
    return read_string(frame, raw, &c->pattern) ? kind : COMMAND_BAD_PATTERN;
}

/* The topic, topics or pattern of a subscribe or an unsubscribe. */
static enum command_kind read_target(
    struct command *c, const struct fields *f, enum command_kind kind, char *frame)
{
    const struct text *at = f->at;
    int given =
        (at[FIELD_TOPIC].len != 0) + (at[FIELD_TOPICS].len != 0) + (at[FIELD_PATTERN].len != 0);
    if (given != 1)
        return malformed(c, "Exactly one of topic, topics and pattern must be given.");
    if (at[FIELD_TOPIC].len)
        return read_topic(c, f, kind, frame);
    if (at[FIELD_TOPICS].len)
        return check_names(c, at[FIELD_TOPICS], kind);
    return read_pattern(c, at[FIELD_PATTERN], kind, frame);
}

static bool read_policy(struct command *c, struct text raw, char *frame)
{
    struct text word;
    if (raw.len == 0)
        return true;
    if (!read_string(frame, raw, &word))
        return false;
    if (IS(word, HERMES_POLICY_DISCONNECT))
        c->policy = COMMAND_DISCONNECT;
    else if (IS(word, HERMES_POLICY_DROP_OLDEST))
        c->policy = COMMAND_DROP_OLDEST;
    else if (IS(word, HERMES_POLICY_LATEST))
        c->policy = COMMAND_LATEST;
    return c->policy != COMMAND_POLICY_NONE;
}

static bool read_replay(struct command *c, struct text raw)
{
    uint64_t replay = 0;
    if (raw.len != 0 && !command_integer(raw, 0, INT64_MAX, &replay))
        return false;
    c->replay = replay < UINT32_MAX ? (uint32_t)replay : UINT32_MAX;
    return true;
}

static const char since_fault[] =
    "since must be an object with epoch, a string of at most 64 bytes, and offset, an integer from "
    "0 to 9223372036854775807.";

static enum command_kind read_subscribe(struct command *c, const struct fields *f, char *frame)
{
    const struct text *at = f->at;
    struct text since = at[FIELD_SINCE];
    struct text replay = at[FIELD_REPLAY];
    if (since.len && replay.len)
        return malformed(c, "since and replay cannot be asked for together.");
    if (since.len && at[FIELD_TOPICS].len)
        return malformed(c, "since is of one topic and cannot be asked for with topics.");
    if ((since.len || replay.len) && at[FIELD_PATTERN].len)
        return malformed(c, "since and replay cannot be asked for with a pattern.");
    if (since.len && !read_since(c, since, frame))
        return malformed(c, since_fault);
    if (!read_replay(c, replay))
        return malformed(c, "replay must be an integer from 0 to 9223372036854775807.");
    if (!read_policy(c, at[FIELD_POLICY], frame))
        return malformed(c, "policy must be disconnect, drop_oldest or latest.");
    if (!read_flag(at[FIELD_PRESENCE], &c->presence))
        return malformed(c, "presence must be true or false.");
    return read_target(c, f, COMMAND_SUBSCRIBE, frame);
}

static enum command_kind read_publish(struct command *c, const struct fields *f, char *frame)
{
    bool echo = true;
    struct text data = f->at[FIELD_DATA];
    if (data.len == 0)
        return malformed(c, f->at[FIELD_TYPE].len ? "data is missing."
                                                  : "type is missing, or data to be published.");
    if (f->at[FIELD_ECHO].len && !read_flag(f->at[FIELD_ECHO], &echo))
        return malformed(c, "echo must be true or false.");
    c->quiet = !echo;
    c->data = data;
    return read_topic(c, f, COMMAND_PUBLISH, frame);
}

static enum command_kind read_history(struct command *c, const struct fields *f, char *frame)
{
    struct text since = f->at[FIELD_SINCE];
    if (since.len && !read_since(c, since, frame))
        return malformed(c, since_fault);
    if (!read_limit(c, f->at[FIELD_LIMIT]))
        return COMMAND_MALFORMED;
    return read_topic(c, f, COMMAND_HISTORY, frame);
}

bool command_topics(struct command *c, const struct fields *f, char *frame)
{
    if (!read_optional(frame, f->at[FIELD_PREFIX], &c->prefix)) {
        c->fault = "prefix must be a string.";
        return false;
    }
    if (!read_optional(frame, f->at[FIELD_AFTER], &c->after)) {
        c->fault = "after must be a string.";
        return false;
    }
    return read_limit(c, f->at[FIELD_LIMIT]);
}

enum command_kind command_level2(
    struct command *c, const struct fields *f, enum command_kind kind, char *frame)
{
    const struct text *at = f->at;
    if (at[FIELD_ID].len) {
        if (!is_id(at[FIELD_ID]))
            return malformed(c, "id must be a string of at most 64 bytes, or an integer of at most "
                                "64 characters.");
        c->id = at[FIELD_ID];
    }
    switch (kind) {
    case COMMAND_PUBLISH:
        return read_publish(c, f, frame);
    case COMMAND_SUBSCRIBE:
        return read_subscribe(c, f, frame);
    case COMMAND_UNSUBSCRIBE:
        return read_target(c, f, kind, frame);
    case COMMAND_TOPICS:
        if (!command_topics(c, f, frame))
            return COMMAND_MALFORMED;
        return at[FIELD_PATTERN].len ? read_pattern(c, at[FIELD_PATTERN], kind, frame) : kind;
    case COMMAND_PRESENCE:
        return read_topic(c, f, kind, frame);
    case COMMAND_HISTORY:
        return read_history(c, f, frame);
    case COMMAND_AUTH:
        if (!read_string(frame, at[FIELD_TOKEN], &c->token) || c->token.len == 0)
            return malformed(c, "token must be a string that is not empty.");
        return kind;
    case COMMAND_PING:
        return kind;
    default:
        return malformed(c, "type must be subscribe, unsubscribe, publish, topics, presence, "
                            "history, auth or ping.");
    }
}

bool command_next_topic(struct text *topics, struct text *name)
{
    if (topics->len == 0)
        return false;
    /* Between the names of the checked array is nothing that has a quote. memchr, because the frame
     * is writable though the text is not. */
    const char *end = topics->at + topics->len;
    char *raw = memchr(topics->at, '"', topics->len);
    if (!raw)
        return false;
    const char *start;
    const char *behind = json_value(raw, end, &start);
    if (!json_string_decode(raw, (size_t)(behind - raw), name))
        *name = TEXT("");
    *topics = (struct text){behind, (size_t)(end - behind)};
    return true;
}
