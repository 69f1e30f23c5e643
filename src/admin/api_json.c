#include "admin/api_json.h"

#include "base/die.h"
#include "proto/json.h"

enum { WORD_MOST = 32 };

struct text json_body(struct text json)
{
    const char *start = json.at;
    const char *end = json_value(json.at, json.at + json.len, &start);
    MUST(end);
    return (struct text){start, (size_t)(end - start)};
}

struct json_walk json_walk(struct text value)
{
    return (struct json_walk){value.at + 1, value.at + value.len - 1};
}

/* Over a comma and space, to where something begins; false at the end. */
static bool step(struct json_walk *w)
{
    w->at = json_space(w->at, w->end);
    if (w->at < w->end && *w->at == ',')
        w->at = json_space(w->at + 1, w->end);
    return w->at < w->end;
}

bool json_walk_element(struct json_walk *w, struct text *value)
{
    const char *start;
    if (!step(w))
        return false;
    const char *end = json_value(w->at, w->end, &start);
    MUST(end);
    *value = (struct text){start, (size_t)(end - start)};
    w->at = end;
    return true;
}

bool json_walk_member(struct json_walk *w, struct text *key, struct text *value)
{
    const char *key_end;
    if (!step(w))
        return false;
    const char *begin = w->at;
    w->at = json_key(begin, w->end, &key_end);
    MUST(w->at);
    *key = (struct text){begin, (size_t)(key_end - begin)};
    return json_walk_element(w, value);
}

/* Every byte of a word may be escaped as \uXXXX. */
bool json_is(struct text raw, const char *word)
{
    char copy[6 * WORD_MOST + 2];
    struct text text;
    if (raw.len > sizeof copy || raw.at[0] != '"')
        return false;
    memcpy(copy, raw.at, raw.len);
    return json_string_decode(copy, raw.len, &text) && text_equal(text, text_of(word));
}

bool json_take_string(struct text raw, struct buf *out)
{
    struct text text;
    if (raw.at[0] != '"' || !buf_reserve(out, raw.len))
        return false;
    char *copy = out->data + out->len;
    memcpy(copy, raw.at, raw.len);
    if (!json_string_decode(copy, raw.len, &text))
        return false;
    memmove(copy, text.at, text.len);
    out->len += text.len;
    return true;
}

bool json_take_number(struct text raw, uint64_t most, uint64_t *out)
{
    uint64_t number = 0;
    for (size_t i = 0; i < raw.len; i++) {
        unsigned digit = (unsigned char)raw.at[i] - '0';
        if (digit > 9 || digit > most || number > (most - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *out = number;
    return raw.len > 0;
}
