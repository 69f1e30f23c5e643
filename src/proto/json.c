#include "proto/json.h"

#include <stdint.h>

#include "base/word.h"

/* Marks the bytes that end a run of plain characters within a string. */
static const uint8_t ends_run[256] = {[0 ... 0x1F] = 1, ['"'] = 1, ['\\'] = 1};

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

static inline bool is_hex(char c)
{
    return is_digit(c) || (unsigned char)((c | 0x20) - 'a') < 6;
}

/* Flags the quotes, backslashes and control characters of a word. Flipping 02 in every byte puts
 * the quote right above the control characters, and the space away from there, so that one
 * subtraction tells both; no byte that is not ASCII is ever flagged. */
static inline uint64_t word_stops(uint64_t word)
{
    uint64_t low = (word ^ WORD_ALL(0x02)) - WORD_ALL(0x21);
    uint64_t backslash = (word ^ WORD_ALL('\\')) - WORD_ALL(1);
    return (low | backslash) & ~word & WORD_TOPS;
}

/* The first quote, backslash or control character, or `end`. */
static inline const char *run_end(const char *at, const char *end)
{
    while (end - at >= 8) {
        uint64_t stops = word_stops(word_load(at));
        if (stops != 0)
            return at + word_first(stops);
        at += 8;
    }
    while (at < end && !ends_run[(unsigned char)*at])
        at++;
    return at;
}

/* `at` is a backslash. */
static const char *escape_end(const char *at, const char *end)
{
    if (end - at < 2)
        return NULL;
    switch (at[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return at + 2;
    case 'u':
        if (end - at < 6)
            return NULL;
        for (int i = 2; i < 6; i++)
            if (!is_hex(at[i]))
                return NULL;
        return at + 6;
    default:
        return NULL;
    }
}

/* The end of a string that is not plain; `at` is what stopped its first run, or `end`. Apart,
 * because its needs would slow down the strings that have no escapes. */
static __attribute__((noinline)) const char *string_rest(const char *at, const char *end)
{
    while (at != end && *at != '"') {
        if (*at != '\\' || !(at = escape_end(at, end)))
            return NULL;
        at = run_end(at, end);
    }
    return at == end ? NULL : at + 1;
}

/* `at` is the opening quote. */
static inline const char *string_end(const char *at, const char *end)
{
    at = run_end(at + 1, end);
    if (at != end && *at == '"')
        return at + 1;
    return string_rest(at, end);
}

/* One digit at least. */
static inline const char *digits_end(const char *at, const char *end)
{
    if (at == end || !is_digit(*at))
        return NULL;
    do
        at++;
    while (at < end && is_digit(*at));
    return at;
}

/* `at` is a minus or a digit. */
static const char *number_end(const char *at, const char *end)
{
    if (*at == '-')
        at++;
    if (at < end && *at == '0')
        at++;
    else if (!(at = digits_end(at, end)))
        return NULL;
    if (at < end && *at == '.' && !(at = digits_end(at + 1, end)))
        return NULL;
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        at = digits_end(at, end);
    }
    return at;
}

static inline const char *word_end(const char *at, const char *end, struct text word)
{
    if ((size_t)(end - at) < word.len || memcmp(at, word.at, word.len) != 0)
        return NULL;
    return at + word.len;
}

/* A value that holds no others. */
static inline const char *scalar_end(const char *at, const char *end)
{
    if (*at == '"')
        return string_end(at, end);
    if (is_digit(*at) || *at == '-')
        return number_end(at, end);
    switch (*at) {
    case 't':
        return word_end(at, end, TEXT("true"));
    case 'f':
        return word_end(at, end, TEXT("false"));
    case 'n':
        return word_end(at, end, TEXT("null"));
    default:
        return NULL;
    }
}

static inline const char *key_end(const char *at, const char *end, const char **key)
{
    if (at == end || *at != '"' || !(at = string_end(at, end)))
        return NULL;
    *key = at;
    at = json_space(at, end);
    if (at == end || *at != ':')
        return NULL;
    return json_space(at + 1, end);
}

const char *json_key(const char *at, const char *end, const char **key)
{
    return key_end(at, end, key);
}

/* The containers around the current value, outermost first: one bit each, set for an object. */
struct nest {
    uint64_t objects[JSON_DEPTH_MAX / 64];
    unsigned depth;
    bool in_object; /* the innermost one, kept out of the bits */
};

static inline bool nest_push(struct nest *n, bool object)
{
    if (n->depth == JSON_DEPTH_MAX)
        return false;
    uint64_t bit = UINT64_C(1) << n->depth % 64;
    uint64_t *bits = &n->objects[n->depth / 64];
    if (n->depth % 64 == 0)
        *bits = 0;
    *bits = n->in_object ? *bits | bit : *bits & ~bit;
    n->depth++;
    n->in_object = object;
    return true;
}

static inline void nest_pop(struct nest *n)
{
    n->depth--;
    n->in_object = n->objects[n->depth / 64] >> n->depth % 64 & 1;
}

/* Behind a value: closes the containers that end there, and steps over the comma (and the key) to
 * where the next value must start. With `depth` 0 it is behind the whole. */
static inline const char *next_value(struct nest *n, const char *at, const char *end)
{
    while (n->depth > 0) {
        at = json_space(at, end);
        if (at == end)
            return NULL;
        if (*at == ',') {
            const char *key;
            at = json_space(at + 1, end);
            return n->in_object ? key_end(at, end, &key) : at;
        }
        if (*at != (n->in_object ? '}' : ']'))
            return NULL;
        at++;
        nest_pop(n);
    }
    return at;
}

const char *json_value(const char *at, const char *end, const char **start)
{
    struct nest nest; /* its bits are cleared as they come into use, not 64 bytes up front */
    nest.depth = 0;
    nest.in_object = false;
    at = json_space(at, end);
    *start = at;
    do {
        if (at == end)
            return NULL;
        if (*at == '{' || *at == '[') {
            bool object = *at == '{';
            if (!nest_push(&nest, object))
                return NULL;
            at = json_space(at + 1, end);
            if (at == end)
                return NULL;
            if (*at != (object ? '}' : ']')) {
                const char *key;
                if (object && !(at = key_end(at, end, &key)))
                    return NULL;
                continue;
            }
            at++;
            nest_pop(&nest);
        } else if (!(at = scalar_end(at, end))) {
            return NULL;
        }
        if (!(at = next_value(&nest, at, end)))
            return NULL;
    } while (nest.depth > 0);
    return at;
}

bool json_valid(const char *text, size_t len)
{
    if (len == 0)
        return false; /* `text` may be NULL then */
    const char *start;
    const char *end = text + len;
    const char *at = json_value(text, end, &start);
    return at && json_space(at, end) == end;
}
