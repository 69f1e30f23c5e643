#include "base/word.h"
#include "hermes/protocol.h"
#include "proto/command_fields.h"
#include "proto/json_run.h"

static inline enum field field_named(struct text name, int level)
{
    if (IS(name, "topic"))
        return FIELD_TOPIC;
    if (IS(name, "data"))
        return FIELD_DATA;
    if (IS(name, "type"))
        return FIELD_TYPE;
    if (IS(name, "prefix"))
        return FIELD_PREFIX;
    if (IS(name, "after"))
        return FIELD_AFTER;
    if (IS(name, "limit"))
        return FIELD_LIMIT;
    if (level < 2)
        return FIELD_UNKNOWN;
    if (IS(name, "id"))
        return FIELD_ID;
    if (IS(name, "echo"))
        return FIELD_ECHO;
    if (IS(name, "topics"))
        return FIELD_TOPICS;
    if (IS(name, "pattern"))
        return FIELD_PATTERN;
    if (IS(name, "since"))
        return FIELD_SINCE;
    if (IS(name, "replay"))
        return FIELD_REPLAY;
    if (IS(name, "policy"))
        return FIELD_POLICY;
    if (IS(name, "presence"))
        return FIELD_PRESENCE;
    if (IS(name, "token"))
        return FIELD_TOKEN;
    return FIELD_UNKNOWN;
}

static inline enum command_kind kind_named(struct text name, int level)
{
    if (IS(name, HERMES_TYPE_PUBLISH))
        return COMMAND_PUBLISH;
    if (IS(name, HERMES_TYPE_SUBSCRIBE))
        return COMMAND_SUBSCRIBE;
    if (IS(name, HERMES_TYPE_UNSUBSCRIBE))
        return COMMAND_UNSUBSCRIBE;
    if (IS(name, HERMES_TYPE_TOPICS))
        return COMMAND_TOPICS;
    if (level < 2)
        return COMMAND_MALFORMED;
    if (IS(name, HERMES_TYPE_PING))
        return COMMAND_PING;
    if (IS(name, HERMES_TYPE_HISTORY))
        return COMMAND_HISTORY;
    if (IS(name, HERMES_TYPE_PRESENCE))
        return COMMAND_PRESENCE;
    if (IS(name, HERMES_TYPE_AUTH))
        return COMMAND_AUTH;
    return COMMAND_MALFORMED;
}

/* Hardly anybody escapes a word of the protocol, so it is compared as it stands first, and only
 * what is no word that way is looked at again. */

static enum field __attribute__((noinline)) field_escaped(struct text raw, int level)
{
    char copy[WORD_RAW_MAX];
    struct text name;
    return unescape(raw, copy, &name) ? field_named(name, level) : FIELD_UNKNOWN;
}

static inline enum field field_of(struct text raw, int level)
{
    enum field field = field_named(unquoted(raw), level);
    return field == FIELD_UNKNOWN ? field_escaped(raw, level) : field;
}

static enum command_kind __attribute__((noinline)) kind_escaped(struct text raw, int level)
{
    char copy[WORD_RAW_MAX];
    struct text name;
    return unescape(raw, copy, &name) ? kind_named(name, level) : COMMAND_MALFORMED;
}

/* The kind that a type asks for; COMMAND_MALFORMED for a value that is no known type. */
static inline enum command_kind kind_of(struct text raw, int level)
{
    if (raw.len == 0)
        return COMMAND_PUBLISH;
    if (raw.at[0] != '"')
        return COMMAND_MALFORMED;
    enum command_kind kind = kind_named(unquoted(raw), level);
    return kind == COMMAND_MALFORMED ? kind_escaped(raw, level) : kind;
}

/* Steps over a key, its colon, and the space behind, to where the value must start; NULL where
 * there is none. The keys that every command has are known by one look at the next eight bytes, as
 * long as nobody puts space before the colon. */
static inline __attribute__((always_inline)) const char *read_key(
    const char *at, const char *end, enum field *field, int level)
{
    static const char topic[8] = {'"', 't', 'o', 'p', 'i', 'c', '"', ':'};
    static const char data[8] = {'"', 'd', 'a', 't', 'a', '"', ':'};
    static const char type[8] = {'"', 't', 'y', 'p', 'e', '"', ':'};
    static const char id[8] = {'"', 'i', 'd', '"', ':'};
    if (end - at >= 8) {
        const uint64_t seven = UINT64_MAX >> 8;
        const uint64_t five = UINT64_MAX >> 24;
        uint64_t word = word_load(at);
        if (word == word_load(topic)) {
            *field = FIELD_TOPIC;
            return json_space(at + 8, end);
        }
        if ((word & seven) == word_load(data)) {
            *field = FIELD_DATA;
            return json_space(at + 7, end);
        }
        if ((word & seven) == word_load(type)) {
            *field = FIELD_TYPE;
            return json_space(at + 7, end);
        }
        if (level >= 2 && (word & five) == word_load(id)) {
            *field = FIELD_ID;
            return json_space(at + 5, end);
        }
    }
    const char *key_end;
    const char *value = json_key(at, end, &key_end);
    if (value)
        *field = field_of((struct text){at, (size_t)(key_end - at)}, level);
    return value;
}

/* The end of the value that starts at `at`, or NULL. Most are strings without escapes. */
static inline const char *value_end(const char *at, const char *end, bool *plain)
{
    *plain = false;
    if (at < end && *at == '"') {
        const char *stop = json_run_end(at + 1, end);
        if (stop != end && *stop == '"') {
            *plain = true;
            return stop + 1;
        }
    }
    return json_value(at, end, &at);
}

/* Scans the whole text, an object whose brace is at `at`, and notes its fields. False when it is
 * not JSON. */
static inline __attribute__((always_inline)) bool read_fields(
    struct fields *f, const char *at, const char *end, int level)
{
    int known = level < 2 ? (int)FIELDS_1 : (int)FIELDS;
    for (int i = 0; i < known; i++)
        f->at[i].len = 0;
    f->plain_topic = false;
    at = json_space(at + 1, end);
    if (at < end && *at == '}')
        return json_space(at + 1, end) == end;
    for (;;) {
        enum field field;
        bool plain;
        const char *value = read_key(at, end, &field, level);
        if (!value || !(at = value_end(value, end, &plain)))
            return false;
        f->at[field] = (struct text){value, (size_t)(at - value)};
        if (field == FIELD_TOPIC)
            f->plain_topic = plain;
        at = json_space(at, end);
        if (at == end)
            return false;
        if (*at == '}')
            return json_space(at + 1, end) == end;
        if (*at != ',')
            return false;
        at = json_space(at + 1, end);
    }
}

/* The kind of a command of level 1 whose fields are all there; `frame` is the start of the text
 * that the fields point into, writable. */
static inline enum command_kind level1(struct command *c, const struct fields *f, char *frame)
{
    const struct text *at = f->at;
    enum command_kind kind = kind_of(at[FIELD_TYPE], 1);
    if (kind == COMMAND_MALFORMED)
        return kind;
    if (kind == COMMAND_TOPICS)
        return command_topics(c, f, frame) ? kind : COMMAND_MALFORMED;
    if (kind == COMMAND_PUBLISH) {
        if (at[FIELD_DATA].len == 0)
            return COMMAND_MALFORMED;
        c->data = at[FIELD_DATA];
    }
    struct text topic = at[FIELD_TOPIC];
    if (topic.len <= 2 || topic.at[0] != '"')
        return COMMAND_MALFORMED;
    if (f->plain_topic) {
        c->topic = unquoted(topic);
        return kind;
    }
    char *raw = frame + (topic.at - frame);
    return json_string_decode(raw, topic.len, &c->topic) ? kind : COMMAND_BAD_TOPIC;
}

/* A function of its own so that level 1 does not pay for its room. */
static void __attribute__((noinline))
decode_level2(struct command *c, char *frame, const char *at, const char *end)
{
    struct fields fields;
    if (read_fields(&fields, at, end, 2))
        c->kind = command_level2(c, &fields, kind_of(fields.at[FIELD_TYPE], 2), frame);
}

/* Piece by piece: as a whole, compilers clear it by an instruction that takes its time to start. */
static inline void clear(struct command *c)
{
    enum { PIECE = 16 };
    _Static_assert(sizeof *c % PIECE == 0, "whole pieces");
#pragma GCC unroll 32
    for (size_t at = 0; at < sizeof *c; at += PIECE)
        memset((char *)c + at, 0, PIECE);
    c->kind = COMMAND_BAD_JSON;
    c->limit = COMMAND_LIMIT_DEFAULT;
}

void command_decode(struct command *c, char *text, size_t len, int level)
{
    clear(c);
    if (len == 0)
        return; /* `text` may be NULL then */
    const char *end = text + len;
    const char *at = json_space(text, end);
    if (at == end || *at != '{') {
        if (json_valid(text, len)) {
            c->kind = COMMAND_MALFORMED;
            c->fault = "A message must be a JSON object.";
        }
        return;
    }
    if (level >= 2) {
        decode_level2(c, text, at, end);
        return;
    }
    struct fields fields;
    if (read_fields(&fields, at, end, 1))
        c->kind = level1(c, &fields, text);
}
