#include "server/rule_json.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/pattern.h"
#include "hermes/hermes.h"

enum {
    SHOWN_NAME = 200, /* bytes of a path, its last ones, so that what follows has room */
    SHOWN_WORD = 40,  /* of what stands in the file */
    HISTORY_MAX = 1000000,
};

#define SECONDS_MAX 1e9
#define HISTORY_BYTES_MAX 1099511627776.0
#define MESSAGE_BYTES_MAX 1073741824.0

static void one_line(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7F)
            *text = '?';
}

int rule_json_refuse(const struct rule_json *r, int code, const char *format, ...)
{
    char rule[32] = "";
    char what[300];
    size_t len = strlen(r->name);
    bool cut = len > SHOWN_NAME;
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (r->number > 0)
        snprintf(rule, sizeof rule, "rule %zu: ", r->number);
    snprintf(r->error, r->size, "%s%s: %s%.*s%s%s", cut ? "..." : "",
        cut ? r->name + len - SHOWN_NAME : r->name, rule, SHOWN_WORD, r->key ? r->key : "",
        r->key ? ": " : "", what);
    one_line(r->error);
    return code;
}

const char *rule_json_kind(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a text";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        break;
    }
    return "null";
}

/* --- the values of a rule --------------------------------------------------------------------- */

/* 0, or from `least` to `most`; `unit` and what 0 is are told to whoever gave another. */
struct range {
    double least;
    double most;
    bool whole;
    const char *unit;
    const char *zero;
};

static int number(const struct rule_json *r, const json_t *value, struct range range, double *out)
{
    char least[32] = "";
    if (!range.whole)
        snprintf(least, sizeof least, "or %.15g ", range.least);
    if (!json_is_number(value))
        return rule_json_refuse(r, HERMES_INVALID, "is %s: give a number, 0 (%s) %sto %.15g %s",
            rule_json_kind(value), range.zero, least, range.most, range.unit);
    double given = json_number_value(value);
    if (given != 0 && (given < range.least || given > range.most))
        return rule_json_refuse(r, HERMES_INVALID,
            "%.15g is out of range: give 0 (%s) %sto %.15g %s", given, range.zero, least,
            range.most, range.unit);
    if (range.whole && given != (double)(uint64_t)given)
        return rule_json_refuse(r, HERMES_INVALID, "%.15g is not whole: give 0 (%s) to %.15g %s",
            given, range.zero, range.most, range.unit);
    *out = given;
    return HERMES_OK;
}

static int boolean(const struct rule_json *r, const json_t *value, bool *out)
{
    if (!json_is_boolean(value))
        return rule_json_refuse(
            r, HERMES_INVALID, "is %s: give true or false", rule_json_kind(value));
    *out = json_is_true(value);
    return HERMES_OK;
}

/* `words` in the order of the enum's values, such as "one, two". */
static int word(const struct rule_json *r, const json_t *value, const char *words, unsigned *out)
{
    if (!json_is_string(value))
        return rule_json_refuse(
            r, HERMES_INVALID, "is %s: give one of %s", rule_json_kind(value), words);
    const char *given = json_string_value(value);
    const char *at = words;
    for (unsigned place = 0; *at; place++) {
        size_t len = strcspn(at, ",");
        if (len == strlen(given) && memcmp(at, given, len) == 0) {
            *out = place;
            return HERMES_OK;
        }
        at += len + strspn(at + len, ", ");
    }
    return rule_json_refuse(r, HERMES_INVALID, "\"%.*s\" is none of its words: give one of %s",
        SHOWN_WORD, given, words);
}

static int read_match(const struct rule_json *r, const json_t *value, struct rule *rule)
{
    if (!json_is_string(value))
        return rule_json_refuse(r, HERMES_INVALID,
            "is %s: give a topic or a pattern, such as \"stock:*\" or \"sensor:>\"",
            rule_json_kind(value));
    struct text pattern = {json_string_value(value), json_string_length(value)};
    const char *fault = pattern_fault(pattern, r->topic_bytes);
    if (fault)
        return rule_json_refuse(
            r, HERMES_INVALID, "\"%.*s\" is no pattern: %s", SHOWN_WORD, pattern.at, fault);
    char *copy = malloc(pattern.len);
    if (!copy)
        return rule_json_refuse(r, HERMES_NO_MEMORY, "out of memory");
    memcpy(copy, pattern.at, pattern.len);
    rule->match = (struct text){copy, pattern.len};
    return HERMES_OK;
}

static int read_history(const struct rule_json *r, const json_t *value, struct rule *rule)
{
    double given = 0;
    int code = number(r, value, (struct range){1, HISTORY_MAX, true, "messages", "none"}, &given);
    if (code == HERMES_OK)
        rule->history.messages = (uint32_t)given;
    return code;
}

static int read_history_seconds(const struct rule_json *r, const json_t *value, struct rule *rule)
{
    double given = 0;
    int code =
        number(r, value, (struct range){0.001, SECONDS_MAX, false, "seconds", "no limit"}, &given);
    if (code == HERMES_OK)
        rule->history.age_us = (uint64_t)(given * 1e6);
    return code;
}

static int read_history_bytes(const struct rule_json *r, const json_t *value, struct rule *rule)
{
    double given = 0;
    int code =
        number(r, value, (struct range){1, HISTORY_BYTES_MAX, true, "bytes", "no limit"}, &given);
    if (code == HERMES_OK)
        rule->history.bytes = (uint64_t)given;
    return code;
}

static int read_retain(const struct rule_json *r, const json_t *value, struct rule *rule)
{
    return boolean(r, value, &rule->history.retain);
}

static int read_local(const struct rule_json *r, const json_t *value, struct rule *rule)
{
    return boolean(r, value, &rule->local);
}

static int read_presence(const struct rule_json *r, const json_t *value, struct rule *rule)
{
    return boolean(r, value, &rule->presence);
}

static int read_access(const struct rule_json *r, const json_t *value, enum access *out)
{
    unsigned place = 0;
    int code = word(r, value, "everyone, authenticated, token, nobody", &place);
    if (code == HERMES_OK)
        *out = (enum access)place;
    return code;
}

static int read_publish(const struct rule_json *r, const json_t *value, struct rule *rule)
{
    return read_access(r, value, &rule->publish);
}

static int read_subscribe(const struct rule_json *r, const json_t *value, struct rule *rule)
{
    return read_access(r, value, &rule->subscribe);
}

static int read_policy(const struct rule_json *r, const json_t *value, struct rule *rule)
{
    unsigned place = 0;
    int code = word(r, value, "disconnect, drop_oldest, latest", &place);
    if (code == HERMES_OK)
        rule->policy = (enum policy)place;
    return code;
}

static int read_max_bytes(const struct rule_json *r, const json_t *value, struct rule *rule)
{
    double given = 0;
    int code = number(r, value,
        (struct range){1, MESSAGE_BYTES_MAX, true, "bytes", "WS_MAX_MESSAGE_BYTES alone counts"},
        &given);
    if (code == HERMES_OK)
        rule->max_bytes = (size_t)given;
    return code;
}

/* --- the rule --------------------------------------------------------------------------------- */

static const struct key {
    const char *name;
    int (*read)(const struct rule_json *r, const json_t *value, struct rule *rule);
} keys[] = {
    {"match", read_match},
    {"history", read_history},
    {"history_seconds", read_history_seconds},
    {"history_bytes", read_history_bytes},
    {"retain", read_retain},
    {"presence", read_presence},
    {"local", read_local},
    {"publish", read_publish},
    {"subscribe", read_subscribe},
    {"policy", read_policy},
    {"max_bytes", read_max_bytes},
};

enum { KEYS = sizeof keys / sizeof keys[0] };

static const struct key *find_key(const char *name)
{
    for (size_t i = 0; i < KEYS; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

static int refuse_key(const struct rule_json *r)
{
    char list[200] = "";
    size_t len = 0;
    for (size_t i = 0; i < KEYS; i++)
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", i ? ", " : "", keys[i].name);
    return rule_json_refuse(r, HERMES_INVALID, "there is no such key: give %s", list);
}

/* What no key can tell by itself. */
static int settle_history(struct rule_json *r, const json_t *object, struct rule *rule)
{
    if (rule->history.messages == 0 && rule->history.retain)
        rule->history.messages = 1;
    if (rule->history.messages > 0)
        return HERMES_OK;
    static const char *const limits[] = {"history_seconds", "history_bytes"};
    for (size_t i = 0; i < 2; i++) {
        r->key = limits[i];
        if (json_object_get(object, limits[i]))
            return rule_json_refuse(r, HERMES_INVALID,
                "limits a history that is not kept: give history (how many messages) or retain "
                "too");
    }
    return HERMES_OK;
}

int rule_json_read(struct rule_json *r, json_t *object, struct rule *rule)
{
    *rule = rule_default;
    rule->match = (struct text){0};
    r->key = NULL;
    if (!json_is_object(object))
        return rule_json_refuse(r, HERMES_INVALID,
            "is %s: give an object, such as {\"match\": \"stock:*\"}", rule_json_kind(object));
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        r->key = json_object_iter_key(at);
        const struct key *key = find_key(r->key);
        int code = key ? key->read(r, json_object_iter_value(at), rule) : refuse_key(r);
        if (code != HERMES_OK)
            return code;
    }
    r->key = "match";
    if (!rule->match.at)
        return rule_json_refuse(r, HERMES_INVALID,
            "is missing: give a topic or a pattern, such as \"stock:*\" or \"sensor:>\"");
    return settle_history(r, object, rule);
}
