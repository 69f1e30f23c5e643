#include "proto/command.h"

#include <jansson.h>

#include "proto/json.h"

enum field {
    FIELD_TYPE,
    FIELD_TOPIC,
    FIELD_DATA,
    FIELD_PREFIX,
    FIELD_AFTER,
    FIELD_LIMIT,
    FIELD_UNKNOWN,
};

/* The longest name of a field ("prefix") and of a type ("unsubscribe"), and what they take as JSON
 * when every character is escaped as \uXXXX. */
enum { WORD_MAX = 11, WORD_RAW_MAX = 6 * WORD_MAX + 2 };

/* The raw spans of the fields; one that is absent has length 0. */
struct fields {
    struct text at[FIELD_UNKNOWN + 1];
};

/* Decodes a short string without touching the frame. False when it is too long to be a word of the
 * protocol, or holds a lone surrogate; `raw` is a scanned string. */
static bool read_word(struct text raw, char copy[WORD_RAW_MAX], struct text *word)
{
    *word = (struct text){raw.at + 1, raw.len - 2};
    if (raw.len > WORD_RAW_MAX)
        return false;
    if (!memchr(word->at, '\\', word->len))
        return true;
    memcpy(copy, raw.at, raw.len);
    return json_string_decode(copy, raw.len, word);
}

static inline bool is(struct text word, const char *literal, size_t len)
{
    return word.len == len && memcmp(word.at, literal, len) == 0;
}

#define IS(word, literal) is(word, literal, sizeof(literal) - 1)

static enum field field_of(struct text raw)
{
    char copy[WORD_RAW_MAX];
    struct text key;
    if (!read_word(raw, copy, &key))
        return FIELD_UNKNOWN;
    if (IS(key, "topic"))
        return FIELD_TOPIC;
    if (IS(key, "data"))
        return FIELD_DATA;
    if (IS(key, "type"))
        return FIELD_TYPE;
    if (IS(key, "prefix"))
        return FIELD_PREFIX;
    if (IS(key, "after"))
        return FIELD_AFTER;
    if (IS(key, "limit"))
        return FIELD_LIMIT;
    return FIELD_UNKNOWN;
}

/* The kind that a type asks for; COMMAND_MALFORMED for a value that is no known type. */
static enum command_kind kind_of(struct text raw)
{
    char copy[WORD_RAW_MAX];
    struct text type;
    if (raw.at[0] != '"' || !read_word(raw, copy, &type))
        return COMMAND_MALFORMED;
    if (IS(type, "publish"))
        return COMMAND_PUBLISH;
    if (IS(type, "subscribe"))
        return COMMAND_SUBSCRIBE;
    if (IS(type, "unsubscribe"))
        return COMMAND_UNSUBSCRIBE;
    if (IS(type, "topics"))
        return COMMAND_TOPICS;
    return COMMAND_MALFORMED;
}

/* Scans the whole text, an object, whose brace is at `at`, and notes its fields. False when it is
 * not JSON. */
static bool read_fields(struct fields *f, const char *at, const char *end)
{
    at = json_space(at + 1, end);
    if (at < end && *at == '}')
        return json_space(at + 1, end) == end;
    for (;;) {
        const char *key = at;
        const char *key_end;
        const char *value;
        if (!(at = json_key(at, end, &key_end)) || !(at = json_value(at, end, &value)))
            return false;
        enum field field = field_of((struct text){key, (size_t)(key_end - key)});
        f->at[field] = (struct text){value, (size_t)(at - value)};
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
    json_t *value = load(raw);
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
    json_t *value = load(raw);
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
    char *raw = frame + (topic.at - frame);
    return json_string_decode(raw, topic.len, &c->topic) ? kind : COMMAND_BAD_TOPIC;
}

void command_decode(struct command *c, char *text, size_t len)
{
    const char *end = text + len;
    const char *at = json_space(text, end);
    *c = (struct command){.limit = TOPICS_LIMIT_DEFAULT};
    if (at == end || *at != '{') {
        c->kind = json_valid(text, len) ? COMMAND_MALFORMED : COMMAND_BAD_JSON;
        return;
    }
    struct fields fields = {0};
    if (read_fields(&fields, at, end))
        c->kind = interpret(c, &fields, text);
    else
        c->kind = COMMAND_BAD_JSON;
}
