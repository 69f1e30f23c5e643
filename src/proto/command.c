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

/* The keys that every command has, and as many bytes of a word as they have. */
static const char topic_key[8] = {'"', 't', 'o', 'p', 'i', 'c', '"', ':'};
static const char data_key[8] = {'"', 'd', 'a', 't', 'a', '"', ':'};
static const char type_key[8] = {'"', 't', 'y', 'p', 'e', '"', ':'};
static const char id_key[8] = {'"', 'i', 'd', '"', ':'};
#define SEVEN (UINT64_MAX >> 8)
#define FIVE (UINT64_MAX >> 24)

/* Steps over a key, its colon, and the space behind, to where the value must start; NULL where
 * there is none. Those keys are known by one look at the next eight bytes, as long as nobody puts
 * space before the colon. */
static inline __attribute__((always_inline)) const char *read_key(
    const char *at, const char *end, enum field *field, int level)
{
    if (end - at >= 8) {
        uint64_t word = word_load(at);
        if (word == word_load(topic_key)) {
            *field = FIELD_TOPIC;
            return json_space(at + 8, end);
        }
        if ((word & SEVEN) == word_load(data_key)) {
            *field = FIELD_DATA;
            return json_space(at + 7, end);
        }
        if ((word & SEVEN) == word_load(type_key)) {
            *field = FIELD_TYPE;
            return json_space(at + 7, end);
        }
        if (level >= 2 && (word & FIVE) == word_load(id_key)) {
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

/* What nearly every frame begins with: {"topic":"...","data":... without a space or an escape. */
struct beginning {
    struct text topic; /* raw; length 0: it begins otherwise */
    struct text data;
};

/* Reads the beginning of the object whose brace is at `at`. Returns where the scan is to go on:
 * behind the data, or at the first key when it begins otherwise; NULL when it is not JSON. */
static inline const char *read_beginning(struct beginning *b, const char *at, const char *end)
{
    b->topic.len = 0;
    const char *topic = ++at + sizeof topic_key;
    if (end - at <= (ptrdiff_t)sizeof topic_key || word_load(at) != word_load(topic_key) ||
        *topic != '"')
        return at;
    const char *quote = json_run_end(topic + 1, end);
    if (end - quote < 2 + (ptrdiff_t)sizeof data_key || quote[0] != '"' || quote[1] != ',' ||
        (word_load(quote + 2) & SEVEN) != word_load(data_key))
        return at;
    const char *data = quote + 2 + sizeof data_key - 1;
    if (*data <= ' ')
        return at;
    bool plain;
    const char *behind = value_end(data, end, &plain);
    if (!behind)
        return NULL;
    b->topic = (struct text){topic, (size_t)(quote + 1 - topic)};
    b->data = (struct text){data, (size_t)(behind - data)};
    return behind;
}

/* Scans the rest of an object and notes its fields. False when it is not JSON. */
static inline __attribute__((always_inline)) bool read_fields(
    struct fields *f, const struct beginning *b, const char *at, const char *end, int level)
{
    int known = level < 2 ? (int)FIELDS_1 : (int)FIELDS;
#pragma GCC unroll 16
    for (int i = 0; i < known; i++)
        f->at[i].len = 0;
    bool behind_member = b->topic.len != 0;
    f->plain_topic = behind_member;
    if (behind_member) {
        f->at[FIELD_TOPIC] = b->topic;
        f->at[FIELD_DATA] = b->data;
    }
    for (;;) {
        at = json_space(at, end);
        if (at == end)
            return false;
        if (*at == '}')
            return json_space(at + 1, end) == end;
        if (behind_member) {
            if (*at != ',')
                return false;
            at = json_space(at + 1, end);
        }
        enum field field;
        bool plain;
        const char *value = read_key(at, end, &field, level);
        if (!value || !(at = value_end(value, end, &plain)))
            return false;
        f->at[field] = (struct text){value, (size_t)(at - value)};
        if (field == FIELD_TOPIC)
            f->plain_topic = plain;
        behind_member = true;
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

/* Functions of their own, so that what is a whole publish already does not pay for their room. */

static void __attribute__((noinline)) decode_level1(
    struct command *c, const struct beginning *b, const char *at, const char *end, char *frame)
{
    struct fields fields;
    if (read_fields(&fields, b, at, end, 1))
        c->kind = level1(c, &fields, frame);
    c->fault = NULL;
}

static void __attribute__((noinline)) decode_level2(
    struct command *c, const struct beginning *b, const char *at, const char *end, char *frame)
{
    struct fields fields;
    if (read_fields(&fields, b, at, end, 2))
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
            c->fault = level < 2 ? NULL : "A message must be a JSON object.";
        }
        return;
    }
    struct beginning begun;
    at = read_beginning(&begun, at, end);
    if (!at)
        return;
    if (begun.topic.len > 2 && at + 1 == end && *at == '}') {
        c->kind = COMMAND_PUBLISH;
        c->topic = unquoted(begun.topic);
        c->data = begun.data;
    } else if (level < 2) {
        decode_level1(c, &begun, at, end, text);
    } else {
        decode_level2(c, &begun, at, end, text);
    }
}
