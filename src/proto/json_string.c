#include <stdint.h>

#include "proto/json.h"
#include "proto/json_run.h"

static const char hex_digits[] = "0123456789abcdef";

/* The letter behind the backslash, for the control characters that have one. */
static const char short_escape[0x20] = {
    ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};

/* The four digits of a \u escape, which the scanner has seen to be hexadecimal. */
static uint32_t hex4(const char *at)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t c = (unsigned char)at[i];
        value = value << 4 | (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
        return to;
    }
    if (c < 0x800) {
        *to++ = (char)(0xC0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *to++ = (char)(0xE0 | c >> 12);
        } else {
            *to++ = (char)(0xF0 | c >> 18);
            *to++ = (char)(0x80 | (c >> 12 & 0x3F));
        }
        *to++ = (char)(0x80 | (c >> 6 & 0x3F));
    }
    *to++ = (char)(0x80 | (c & 0x3F));
    return to;
}

/* Reads the \u escape at `at`, two of them where they are a surrogate pair. Returns the byte
 * behind, or NULL for a lone surrogate. */
static const char *unicode_escape(const char *at, const char *end, uint32_t *c)
{
    uint32_t high = hex4(at + 2);
    *c = high;
    if (high < 0xD800 || high > 0xDFFF)
        return at + 6;
    if (high > 0xDBFF || end - at < 12 || at[6] != '\\' || at[7] != 'u')
        return NULL;
    uint32_t low = hex4(at + 8);
    if (low < 0xDC00 || low > 0xDFFF)
        return NULL;
    *c = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    return at + 12;
}

static char simple_escape(char letter)
{
    switch (letter) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return letter;
    }
}

bool json_string_decode(char *raw, size_t len, struct text *out)
{
    const char *at = raw + 1;
    const char *end = raw + len - 1;
    char *to = raw + 1;
    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        size_t plain = (size_t)((escape ? escape : end) - at);
        if (to != at)
            memmove(to, at, plain);
        to += plain;
        if (!escape)
            break;
        if (escape[1] == 'u') {
            uint32_t c;
            at = unicode_escape(escape, end, &c);
            if (!at)
                return false;
            to = put_utf8(to, c);
        } else {
            *to++ = simple_escape(escape[1]);
            at = escape + 2;
        }
    }
    *out = (struct text){raw + 1, (size_t)(to - (raw + 1))};
    return true;
}

/* `c` is a stop. */
static void append_escape(struct buf *out, unsigned char c)
{
    char escape[6] = {'\\', (char)c};
    size_t len = 2;
    if (c < 0x20 && short_escape[c]) {
        escape[1] = short_escape[c];
    } else if (c < 0x20) {
        memcpy(escape + 1, "u00", 3);
        escape[4] = hex_digits[c >> 4];
        escape[5] = hex_digits[c & 15];
        len = 6;
    }
    buf_append(out, escape, len);
}

void json_escape_append(struct buf *out, struct text t)
{
    if (t.len == 0)
        return; /* `at` may be NULL then */
    const char *at = t.at;
    const char *end = at + t.len;
    for (;;) {
        const char *stop = json_run_end(at, end);
        buf_append(out, at, (size_t)(stop - at));
        if (stop == end)
            return;
        append_escape(out, (unsigned char)*stop);
        at = stop + 1;
    }
}

void json_string_append(struct buf *out, struct text t)
{
    buf_append_char(out, '"');
    json_escape_append(out, t);
    buf_append_char(out, '"');
}
