#include "client/response.h"

#include <strings.h>

struct seen {
    bool upgrade;
    bool connection;
    bool accept;
    bool subprotocol;
};

static bool same(struct text t, const char *string)
{
    return t.len == strlen(string) && strncasecmp(t.at, string, t.len) == 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static struct text trim(struct text t)
{
    for (; t.len && is_space(t.at[0]); t.at++)
        t.len--;
    while (t.len && is_space(t.at[t.len - 1]))
        t.len--;
    return t;
}

/* Takes what comes before the next `separator` out of `rest`. */
static struct text take(struct text *rest, char separator)
{
    const char *end = rest->len ? memchr(rest->at, separator, rest->len) : NULL;
    size_t len = end ? (size_t)(end - rest->at) : rest->len;
    struct text taken = {rest->at, len};
    size_t gone = end ? len + 1 : len;
    *rest = (struct text){rest->at + gone, rest->len - gone};
    return taken;
}

static bool list_has(struct text list, const char *token)
{
    while (list.len)
        if (same(trim(take(&list, ',')), token))
            return true;
    return false;
}

/* "HTTP/1.1 101 Switching Protocols" */
static bool status_read(struct response *r, struct text line)
{
    if (!text_starts_with(line, TEXT("HTTP/1.")) || line.len < 12 || line.at[8] != ' ')
        return false;
    for (size_t i = 9; i < 12; i++) {
        if (line.at[i] < '0' || line.at[i] > '9')
            return false;
        r->status = r->status * 10 + (line.at[i] - '0');
    }
    if (line.len > 12 && line.at[12] != ' ')
        return false;
    r->phrase = trim((struct text){line.at + 12, line.len - 12});
    return true;
}

static const char *header_check(
    struct seen *seen, struct text line, const char *accept, const char *subprotocol)
{
    if (!line.len || !memchr(line.at, ':', line.len))
        return "a header line without a colon";
    struct text name = take(&line, ':');
    struct text value = trim(line);
    if (same(name, "Upgrade")) {
        seen->upgrade = same(value, "websocket");
    } else if (same(name, "Connection")) {
        seen->connection |= list_has(value, "upgrade");
    } else if (same(name, "Sec-WebSocket-Accept")) {
        if (seen->accept || !text_equal(value, text_of(accept)))
            return "a wrong Sec-WebSocket-Accept";
        seen->accept = true;
    } else if (same(name, "Sec-WebSocket-Protocol")) {
        if (!subprotocol || !text_equal(value, text_of(subprotocol)))
            return "a subprotocol that was not asked for";
        seen->subprotocol = true;
    } else if (same(name, "Sec-WebSocket-Extensions")) {
        return "an extension that was not asked for";
    }
    return NULL;
}

static enum response_result bad(struct response *r, const char *fault)
{
    r->fault = fault;
    return RESPONSE_BAD;
}

enum response_result response_read(
    struct response *r, const char *bytes, size_t len, const char *accept, const char *subprotocol)
{
    *r = (struct response){0};
    const char *end = memmem(bytes, len < RESPONSE_MAX ? len : RESPONSE_MAX, "\r\n\r\n", 4);
    if (!end && len >= RESPONSE_MAX)
        return bad(r, "an endless head");
    if (!end)
        return len >= 5 && memcmp(bytes, "HTTP/", 5) != 0 ? bad(r, "no HTTP") : RESPONSE_MORE;
    r->used = (size_t)(end - bytes) + 4;

    struct text head = {bytes, r->used - 2};
    struct text line = take(&head, '\n');
    if (line.len && line.at[line.len - 1] == '\r')
        line.len--;
    if (!status_read(r, line))
        return bad(r, "no HTTP");
    if (r->status != 101)
        return RESPONSE_REFUSED;
    struct seen seen = {0};
    while (head.len) {
        line = take(&head, '\n');
        if (line.len == 0 || line.at[line.len - 1] != '\r')
            return bad(r, "a header line that does not end with CR LF");
        line.len--;
        const char *fault = header_check(&seen, line, accept, subprotocol);
        if (fault)
            return bad(r, fault);
    }
    if (!seen.upgrade || !seen.connection)
        return bad(r, "no upgrade to a WebSocket");
    if (!seen.accept)
        return bad(r, "no Sec-WebSocket-Accept");
    r->selected = seen.subprotocol;
    return RESPONSE_OPEN;
}
