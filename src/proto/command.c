#include "proto/command.h"

#include <jansson.h>

#include "base/word.h"
#include "hermes/protocol.h"
#include "proto/json.h"
#include "proto/json_run.h"

enum field {
    FIELD_TYPE,
    FIELD_TOPIC,
    FIELD_DATA,
    FIELD_PREFIX,
    FIELD_AFTER,
    FIELD_LIMIT,
    FIELD_UNKNOWN,
    FIELDS
};

/* The longest name of a field ("prefix") and of a type ("unsubscribe"), and what they take as JSON
 * when every character is escaped as \uXXXX. */
enum { WORD_MAX = 11, WORD_RAW_MAX = 6 * WORD_MAX + 2 };

/* The raw spans of the fields; one that is absent has length 0. */
struct fields {
    struct text at[FIELDS];
    bool plain_topic; /* a string without escapes */
};

static inline bool is(struct text word, const char *literal, size_t len)
{
    return word.len == len && memcmp(word.at, literal, len) == 0;
}

#define IS(word, literal) is(word, literal, sizeof(literal) - 1)

static inline enum field field_named(struct text name)
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
    return FIELD_UNKNOWN;
}

static inline enum command_kind kind_named(struct text name)
{
    if (IS(name, HERMES_TYPE_PUBLISH))
        return COMMAND_PUBLISH;
    if (IS(name, HERMES_TYPE_SUBSCRIBE))
        return COMMAND_SUBSCRIBE;
    if (IS(name, HERMES_TYPE_UNSUBSCRIBE))
        return COMMAND_UNSUBSCRIBE;
    if (IS(name, HERMES_TYPE_TOPICS))
        return COMMAND_TOPICS;
    return COMMAND_MALFORMED;
}

/* Decodes a short string with escapes without touching the frame, into `copy`. False when there are
 * none, when it is too long to be a word of the protocol, or when it holds a lone surrogate. */
static bool unescape(struct text raw, char copy[WORD_RAW_MAX], struct text *word)
{
    if (raw.len > WORD_RAW_MAX || !memchr(raw.at, '\\', raw.len))
        return false;
    memcpy(copy, raw.at, raw.len);
    return json_string_decode(copy, raw.len, word);
}

/* Of a scanned string. Hardly anybody escapes a word of the protocol, so it is compared as it
 * stands first, and only what is no word that way is looked at again. */
static inline struct text unquoted(struct text raw)
{
    return (struct text){raw.at + 1, raw.len - 2};
}

static enum field __attribute__((noinline)) field_escaped(struct text raw)
{
    char copy[WORD_RAW_MAX];
    struct text name;
    return unescape(raw, copy, &name) ? field_named(name) : FIELD_UNKNOWN;
}

static inline enum field field_of(struct text raw)
{
    enum field field = field_named(unquoted(raw));
    return field == FIELD_UNKNOWN ? field_escaped(raw) : field;
}

static enum command_kind __attribute__((noinline)) kind_escaped(struct text raw)
{
    char copy[WORD_RAW_MAX];
    struct text name;
    return unescape(raw, copy, &name) ? kind_named(name) : COMMAND_MALFORMED;
}

/* The kind that a type asks for; COMMAND_MALFORMED for a value that is no known type. */
static inline enum command_kind kind_of(struct text raw)
{
    if (raw.at[0] != '"')
        return COMMAND_MALFORMED;
    enum command_kind kind = kind_named(unquoted(raw));
    return kind == COMMAND_MALFORMED ? kind_escaped(raw) : kind;
}

/* Steps over a key, its colon, and the space behind, to where the value must start; NULL where
 * there is none. The keys that every command has are known by one look at the next eight bytes, as
 * long as nobody puts space before the colon. */
static inline const char *read_key(const char *at, const char *end, enum field *field)
{
    static const char topic[8] = {'"', 't', 'o', 'p', 'i', 'c', '"', ':'};
    static const char data[8] = {'"', 'd', 'a', 't', 'a', '"', ':'};
    static const char type[8] = {'"', 't', 'y', 'p', 'e', '"', ':'};
    if (end - at >= 8) {
        const uint64_t seven = UINT64_MAX >> 8;
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
    }
    const char *key_end;
    const char *value = json_key(at, end, &key_end);
    if (value)
        *field = field_of((struct text){at, (size_t)(key_end - at)});
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
static inline bool read_fields(struct fields *f, const char *at, const char *end)
{
    at = json_space(at + 1, end);
    if (at < end && *at == '}')
        return json_space(at + 1, end) == end;
    for (;;) {
        enum field field;
        bool plain;
        const char *value = read_key(at, end, &field);
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

static json_t *load(struct text raw)
{
    return json_loadb(raw.at, raw.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

/* A string that jansson decodes, written over its raw form, which is never shorter. */
static bool load_string(char *frame, struct text raw, struct text *out)
{
    if (raw.len == 0)
        return true;
    json_t *value = *raw.at == '"' ? load(raw) : NULL;
    bool good = json_is_string(value);
    if (good) {
        out->len = json_string_length(value);
        out->at = memcpy(frame + (raw.at - frame), json_string_value(value), out->len);
    }
    json_decref(value);
    return good;
}

static bool load_limit(struct text raw, unsigned *limit)
{
    if (raw.len == 0)
        return true;
    json_t *value = *raw.at >= '1' && *raw.at <= '9' ? load(raw) : NULL;
    json_int_t number = json_integer_value(value); /* 0 for what is no integer */
    json_decref(value);
    if (number < 1 || number > TOPICS_LIMIT_MAX)
        return false;
    *limit = (unsigned)number;
    return true;
}

/* The kind of a command whose fields are all there; `frame` is the start of the text that the
 * fields point into, writable. */
static enum command_kind interpret(struct command *c, const struct fields *f, char *frame)
{
    const struct text *at = f->at;
    enum command_kind kind = at[FIELD_TYPE].len ? kind_of(at[FIELD_TYPE]) : COMMAND_PUBLISH;
    if (kind == COMMAND_MALFORMED)
        return kind;
    if (kind == COMMAND_TOPICS) {
        bool good = load_string(frame, at[FIELD_PREFIX], &c->prefix) &&
                    load_string(frame, at[FIELD_AFTER], &c->after) &&
                    load_limit(at[FIELD_LIMIT], &c->limit);
        return good ? kind : COMMAND_MALFORMED;
    }
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

void command_decode(struct command *c, char *text, size_t len)
{
    *c = (struct command){.kind = COMMAND_BAD_JSON, .limit = TOPICS_LIMIT_DEFAULT};
    if (len == 0)
        return; /* `text` may be NULL then */
    const char *end = text + len;
    const char *at = json_space(text, end);
    if (at == end || *at != '{') {
        if (json_valid(text, len))
            c->kind = COMMAND_MALFORMED;
        return;
    }
    struct fields fields;
    for (int i = 0; i < FIELDS; i++)
        fields.at[i].len = 0;
    fields.plain_topic = false;
    if (read_fields(&fields, at, end))
        c->kind = interpret(c, &fields, text);
}
