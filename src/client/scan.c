#include "client/scan.h"

#include <string.h>

#include "proto/json.h"

static bool fail(struct scan *s)
{
    s->at = NULL;
    return false;
}

bool scan_sees(struct scan *s, char mark)
{
    if (!s->at)
        return false;
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
    return s->at < s->end && *s->at == mark;
}

bool scan_mark(struct scan *s, char mark)
{
    if (!scan_sees(s, mark))
        return fail(s);
    s->at++;
    return true;
}

bool scan_key(struct scan *s, const char *name)
{
    size_t len = strlen(name);
    if (!scan_mark(s, '"') || (size_t)(s->end - s->at) <= len || memcmp(s->at, name, len) != 0 ||
        s->at[len] != '"')
        return fail(s);
    s->at += len + 1;
    return scan_mark(s, ':');
}

bool scan_value(struct scan *s, struct text *raw)
{
    const char *start = NULL;
    const char *after = s->at ? json_value(s->at, s->end, &start) : NULL;
    s->at = after;
    if (!after)
        return false;
    *raw = (struct text){start, (size_t)(after - start)};
    return true;
}

bool scan_string(struct scan *s, struct text *raw)
{
    return scan_value(s, raw) && (raw->at[0] == '"' || fail(s));
}

bool scan_object(struct scan *s)
{
    return scan_sees(s, '{') || fail(s);
}

bool scan_member(struct scan *s, struct text *key, struct text *value)
{
    /* The brace stands before the first member as a comma does before the others. */
    if (!scan_sees(s, '{') && !scan_sees(s, ','))
        return false;
    s->at++;
    return !scan_sees(s, '}') && scan_string(s, key) && scan_mark(s, ':') && scan_value(s, value);
}

bool scan_number(struct text raw, uint64_t *number)
{
    uint64_t n = 0;
    *number = 0;
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.at[i] < '0' || raw.at[i] > '9' || n > (UINT64_MAX - 9) / 10)
            return false;
        n = n * 10 + (uint64_t)(raw.at[i] - '0');
    }
    *number = n;
    return true;
}

bool scan_end(struct scan *s)
{
    scan_sees(s, 0);
    return s->at && s->at == s->end;
}

/* Four hexadecimal digits; the scanner has seen that they are. */
static unsigned hex4(const char *at)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        value = value * 16 + (unsigned)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return value;
}

/* Decodes the one character (or the one byte of one) at `at` and returns what follows it; a lone
 * surrogate becomes nothing that UTF-8 could equal. */
static const char *decode(const char *at, const char *end, char out[4], size_t *len)
{
    *len = 1;
    out[0] = *at++;
    if (out[0] != '\\')
        return at;
    static const char from[] = "bfnrt";
    static const char to[] = "\b\f\n\r\t";
    const char *found = strchr(from, *at);
    if (*at != 'u') {
        out[0] = found ? to[found - from] : *at;
        return at + 1;
    }
    unsigned code = hex4(at + 1);
    at += 5;
    if (code >= 0xd800 && code < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
        unsigned low = hex4(at + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            at += 6;
        }
    }
    if (code < 0x80) {
        out[0] = (char)code;
    } else if (code < 0x800) {
        *len = 2;
        out[0] = (char)(0xc0 | code >> 6);
    } else if (code < 0x10000) {
        *len = 3;
        out[0] = (char)(0xe0 | code >> 12);
    } else {
        *len = 4;
        out[0] = (char)(0xf0 | code >> 18);
    }
    for (size_t i = 1; i < *len; i++)
        out[i] = (char)(0x80 | (code >> 6 * (*len - 1 - i) & 0x3f));
    return at;
}

bool scan_string_is(struct text raw, struct text first, struct text second, bool whole)
{
    const char *at = raw.at + 1;
    const char *end = raw.at + raw.len - 1;
    while (at < end) {
        char bytes[4];
        size_t len;
        at = decode(at, end, bytes, &len);
        for (size_t i = 0; i < len; i++) {
            if (first.len == 0) {
                first = second;
                second.len = 0;
            }
            if (first.len == 0)
                return !whole;
            if (*first.at != bytes[i])
                return false;
            first.at++;
            first.len--;
        }
    }
    return first.len == 0 && second.len == 0;
}
