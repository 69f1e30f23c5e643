#include "proto/percent.h"

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool percent_decode(struct buf *out, struct text encoded, bool form)
{
    const char *end = encoded.at + encoded.len;
    for (const char *at = encoded.at; at < end; at++) {
        char c = form && *at == '+' ? ' ' : *at;
        if (*at == '%') {
            int high = end - at > 2 ? digit(at[1]) : -1;
            int low = end - at > 2 ? digit(at[2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            at += 2;
        }
        if (c == '\0')
            return false;
        buf_append_char(out, c);
    }
    return !out->failed;
}

/* Takes the part in front of the next `mark` off a text. */
static struct text take(struct text *rest, char mark)
{
    const char *found = rest->len ? memchr(rest->at, mark, rest->len) : NULL;
    struct text part = {rest->at, found ? (size_t)(found - rest->at) : rest->len};
    size_t step = part.len + (found != NULL);
    *rest = (struct text){rest->at + step, rest->len - step};
    return part;
}

bool query_next(struct text *query, struct text *name, struct text *value)
{
    if (query->len == 0)
        return false;
    *value = take(query, '&');
    *name = take(value, '=');
    return true;
}
