#include "proto/json.h"

#include <stdint.h>

#include "proto/json_run.h"

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* One digit at least. */
static const char *digits_end(const char *at, const char *end)
{
    if (at == end || !is_digit(*at))
        return NULL;
    do
        at++;
    while (at < end && is_digit(*at));
    return at;
}

/* `at` is behind the minus, if there is one. */
static __attribute__((noinline)) const char *number_long(const char *at, const char *end)
{
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

/* `at` is a minus or a digit. Most numbers have no exponent and no zero in front, and end within a
 * block. */
static inline const char *number_end(const char *at, const char *end)
{
    at += *at == '-';
#ifdef BLOCK
    if (end - at >= BLOCK && (unsigned char)(*at - '1') < 9) {
        /* Digits are 0 to 9 then, and 7F at most; all else is 80 or more. */
        block digits = block_load(at) - block_all('0');
        uint64_t others = block_flags(block_plus(digits, block_all(0x7F - 9)));
        const char *dot = at;
        if (others != 0 && *(dot = at + block_first(others)) == '.')
            others &= others - 1;
        if (others != 0) {
            const char *behind = at + block_first(others);
            if ((*behind | 0x20) != 'e' && behind != dot + 1)
                return behind;
        }
    }
#endif
    return number_long(at, end);
}

static inline const char *literal_end(const char *at, const char *end, struct text literal)
{
    if ((size_t)(end - at) < literal.len || memcmp(at, literal.at, literal.len) != 0)
        return NULL;
    return at + literal.len;
}

static inline const char *word_end(const char *at, const char *end)
{
    switch (*at) {
    case 't':
        return literal_end(at, end, TEXT("true"));
    case 'f':
        return literal_end(at, end, TEXT("false"));
    case 'n':
        return literal_end(at, end, TEXT("null"));
    default:
        return NULL;
    }
}

const char *json_space_end(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    return at;
}

/* The containers around the current value: a bit each, set for an object, the innermost lowest.
 * Sets of 64 that are full are put away. */
struct nest {
    uint64_t objects;
    unsigned depth;
    uint64_t outer[JSON_DEPTH_MAX / 64 - 1];
};

static inline bool nest_push(struct nest *n, bool object)
{
    if (n->depth % 64 == 0 && n->depth > 0) {
        if (n->depth == JSON_DEPTH_MAX)
            return false;
        n->outer[n->depth / 64 - 1] = n->objects;
    }
    n->objects = n->objects << 1 | object;
    n->depth++;
    return true;
}

static inline void nest_pop(struct nest *n)
{
    n->depth--;
    n->objects >>= 1;
    if (n->depth % 64 == 0 && n->depth > 0)
        n->objects = n->outer[n->depth / 64 - 1];
}

/* The byte behind the next `c`, which nothing but space may come before; or NULL. */
static inline const char *behind(char c, const char *at, const char *end)
{
    if (at < end && *at == c)
        return at + 1;
    at = json_space(at, end);
    return at < end && *at == c ? at + 1 : NULL;
}

/* The end of a member's key and colon, but not of the space behind it. */
static inline __attribute__((always_inline)) const char *key_end(
    const char *at, const char *end, const char **key)
{
    if (!(at = behind('"', at, end)) || !(at = json_key_end(at, end)))
        return NULL;
    *key = at;
    return behind(':', at, end);
}

const char *json_key(const char *at, const char *end, const char **key)
{
    at = key_end(at, end, key);
    return at ? json_space(at, end) : NULL;
}

/* Behind a value: closes the containers that end there, and steps over the comma if one follows.
 * The whole is at its end when `depth` is 0. */
static inline const char *next_value(struct nest *n, const char *at, const char *end)
{
    while (n->depth > 0) {
        if (at == end)
            return NULL;
        if (*at == ',')
            return at + 1;
        if (*at == (n->objects & 1 ? '}' : ']')) {
            nest_pop(n);
            at++;
        } else {
            const char *space = at;
            at = json_space(at, end);
            if (at == space)
                return NULL;
        }
    }
    return at;
}

/* `at` is the bracket that opens it. Apart, because its needs would slow down the scalars. Space is
 * looked for only where nothing else fits. */
static __attribute__((noinline)) const char *container_end(const char *at, const char *end)
{
    struct nest nest; /* `outer` is written as it comes into use, not all of it up front */
    nest.objects = 0;
    nest.depth = 0;
    do {
        const char *key;
        if (nest.objects & 1 && !(at = key_end(at, end, &key)))
            return NULL;
        at = json_space(at, end);
        if (at == end)
            return NULL;
        if (*at == '"') {
            at = json_string_end(at + 1, end);
        } else if (is_digit(*at) || *at == '-') {
            at = number_end(at, end);
        } else if (*at == '{' || *at == '[') {
            bool object = *at == '{';
            if (!nest_push(&nest, object))
                return NULL;
            at = json_space(at + 1, end);
            if (at == end)
                return NULL;
            if (*at != (object ? '}' : ']'))
                continue;
        } else {
            at = word_end(at, end);
        }
        if (!at)
            return NULL;
        if (!(at = next_value(&nest, at, end)))
            return NULL;
    } while (nest.depth > 0);
    return at;
}

const char *json_value(const char *at, const char *end, const char **start)
{
    at = json_space(at, end);
    *start = at;
    if (at == end)
        return NULL;
    if (*at == '"')
        return json_string_end(at + 1, end);
    if (is_digit(*at) || *at == '-')
        return number_end(at, end);
    return *at == '{' || *at == '[' ? container_end(at, end) : word_end(at, end);
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
