/* Percent-encoded texts: paths and parameters. */
#include "admin/exchange.h"

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

enum query_result query_find(struct text query, const char *name, struct buf *out)
{
    struct text wanted = text_of(name);
    while (query.len > 0) {
        struct text value = take(&query, '&');
        struct text key = take(&value, '=');
        if (text_equal(key, wanted))
            return percent_decode(out, value, true) ? QUERY_FOUND : QUERY_BAD;
    }
    return QUERY_NONE;
}

enum query_result query_number(struct text query, const char *name, uint64_t most, uint64_t *out)
{
    struct buf value = {0};
    uint64_t number = 0;
    enum query_result result = query_find(query, name, &value);
    if (result == QUERY_FOUND && value.len == 0)
        result = QUERY_BAD;
    for (size_t i = 0; result == QUERY_FOUND && i < value.len; i++) {
        unsigned next = (unsigned char)value.data[i] - '0';
        if (next > 9 || next > most || number > (most - next) / 10)
            result = QUERY_BAD;
        else
            number = number * 10 + next;
    }
    buf_fini(&value);
    if (result == QUERY_FOUND)
        *out = number;
    return result;
}
