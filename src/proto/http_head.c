#include "proto/http_head.h"

#include <stdint.h>

/* No registered method is longer than 17 bytes; more is not HTTP. */
enum { METHOD_MAX = 32 };

/* What a byte may be part of. */
enum {
    IN_TOKEN = 1,  /* RFC 9110 tchar */
    IN_TARGET = 2, /* printable ASCII but '#' (a fragment never goes to a server) */
    IN_VALUE = 4,  /* a header's value: tab, space, printable, and the bytes past ASCII */
    IN_HOST = 8,   /* RFC 3986 host and port */
};

#define TOKEN (IN_TOKEN | IN_TARGET | IN_VALUE)
#define THOST (IN_TOKEN | IN_TARGET | IN_VALUE | IN_HOST)
#define HOST (IN_TARGET | IN_VALUE | IN_HOST)
#define VCHAR (IN_TARGET | IN_VALUE)
#define VALUE IN_VALUE

static const uint8_t classes[256] = {
    ['\t'] = VALUE,
    [' '] = VALUE,
    ['!'] = THOST,
    ['"'] = VCHAR,
    ['#'] = IN_TOKEN | IN_VALUE,
    ['$'] = THOST,
    ['%'] = THOST,
    ['&'] = THOST,
    ['\''] = THOST,
    ['('] = HOST,
    [')'] = HOST,
    ['*'] = THOST,
    ['+'] = THOST,
    [','] = HOST,
    ['-'] = THOST,
    ['.'] = THOST,
    ['/'] = VCHAR,
    ['0' ... '9'] = THOST,
    [':'] = HOST,
    [';'] = HOST,
    ['<'] = VCHAR,
    ['='] = HOST,
    ['>'] = VCHAR,
    ['?'] = VCHAR,
    ['@'] = VCHAR,
    ['A' ... 'Z'] = THOST,
    ['['] = HOST,
    ['\\'] = VCHAR,
    [']'] = HOST,
    ['^'] = TOKEN,
    ['_'] = THOST,
    ['`'] = TOKEN,
    ['a' ... 'z'] = THOST,
    ['{'] = VCHAR,
    ['|'] = TOKEN,
    ['}'] = VCHAR,
    ['~'] = THOST,
    [0x80 ... 0xff] = VALUE,
};

static bool is_in(char c, unsigned class)
{
    return (classes[(unsigned char)c] & class) != 0;
}

/* ASCII alone, whatever the locale says about letters. */
static bool same_name(struct text t, const char *name, size_t len)
{
    if (t.len != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char a = (unsigned char)t.at[i];
        unsigned char b = (unsigned char)name[i];
        if (a != b && ((a ^ b) != 0x20 || (a | 0x20) < 'a' || (a | 0x20) > 'z'))
            return false;
    }
    return true;
}

static struct text trim(struct text t)
{
    while (t.len && (t.at[0] == ' ' || t.at[0] == '\t'))
        t = (struct text){t.at + 1, t.len - 1};
    while (t.len && (t.at[t.len - 1] == ' ' || t.at[t.len - 1] == '\t'))
        t.len--;
    return t;
}

struct cursor {
    const char *at;
    const char *end;
};

/* Takes the bytes of a class from the cursor. */
static struct text run(struct cursor *c, unsigned class)
{
    const char *start = c->at;
    while (c->at < c->end && is_in(*c->at, class))
        c->at++;
    return (struct text){start, (size_t)(c->at - start)};
}

/* Takes a fixed text, of which as much as has come must be right. */
static enum http_result expect(struct cursor *c, const char *literal)
{
    for (; *literal; literal++, c->at++) {
        if (c->at == c->end)
            return HTTP_MORE;
        if (*c->at != *literal)
            return HTTP_BAD;
    }
    return HTTP_DONE;
}

/* Splits the target, which is "/path?query", "http://host/path?query", or "*" for OPTIONS. */
static bool split_target(struct http_head *head)
{
    struct text rest = head->target;
    if (text_equal(rest, TEXT("*"))) {
        head->path = rest;
        head->query = (struct text){rest.at + 1, 0};
        return text_equal(head->method, TEXT("OPTIONS"));
    }
    if (rest.at[0] != '/') {
        size_t scheme = 0;
        if (rest.len > 7 && same_name((struct text){rest.at, 7}, "http://", 7))
            scheme = 7;
        else if (rest.len > 8 && same_name((struct text){rest.at, 8}, "https://", 8))
            scheme = 8;
        else
            return false;
        rest = (struct text){rest.at + scheme, rest.len - scheme};
        size_t host = 0;
        while (host < rest.len && rest.at[host] != '/' && rest.at[host] != '?')
            host++;
        if (host == 0)
            return false;
        rest = (struct text){rest.at + host, rest.len - host};
    }
    const char *mark = rest.len ? memchr(rest.at, '?', rest.len) : NULL;
    head->path = (struct text){rest.at, mark ? (size_t)(mark - rest.at) : rest.len};
    head->query = (struct text){rest.at + rest.len, 0};
    if (mark)
        head->query = (struct text){mark + 1, rest.len - head->path.len - 1};
    if (head->path.len == 0)
        head->path = TEXT("/");
    return true;
}

static enum http_result request_line(struct http_head *head, struct cursor *c)
{
    head->method = run(c, IN_TOKEN);
    if (head->method.len > METHOD_MAX)
        return HTTP_BAD;
    if (c->at == c->end)
        return HTTP_MORE;
    if (head->method.len == 0 || *c->at++ != ' ')
        return HTTP_BAD;

    head->target = run(c, IN_TARGET);
    if (c->at == c->end)
        return HTTP_MORE;
    if (head->target.len == 0 || *c->at++ != ' ' || !split_target(head))
        return HTTP_BAD;

    enum http_result result = expect(c, "HTTP/1.");
    if (result != HTTP_DONE)
        return result;
    if (c->at == c->end)
        return HTTP_MORE;
    if (*c->at != '0' && *c->at != '1')
        return HTTP_BAD;
    head->minor = *c->at++ - '0';
    return expect(c, "\r\n");
}

static enum http_result header_line(struct http_header *header, struct cursor *c)
{
    header->name = run(c, IN_TOKEN);
    if (c->at == c->end)
        return HTTP_MORE;
    if (header->name.len == 0 || *c->at++ != ':')
        return HTTP_BAD;

    header->value = trim(run(c, IN_VALUE));
    return expect(c, "\r\n");
}

/* Digits and nothing else. */
static bool read_length(struct text value, uint64_t *out)
{
    uint64_t length = 0;
    for (size_t i = 0; i < value.len; i++) {
        unsigned digit = (unsigned char)value.at[i] - '0';
        if (digit > 9)
            return false;
        length = length > (UINT64_MAX - digit) / 10 ? UINT64_MAX : length * 10 + digit;
    }
    *out = length;
    return value.len > 0;
}

/* What can be judged only when all lines are there. */
static bool consistent(struct http_head *head, bool body)
{
    size_t hosts = 0;
    size_t lengths = 0;
    for (size_t i = 0; i < head->header_count; i++) {
        struct text name = head->headers[i].name;
        struct text value = head->headers[i].value;
        if (same_name(name, "Host", 4)) {
            struct cursor c = {value.at, value.at + value.len};
            if (run(&c, IN_HOST).len != value.len)
                return false;
            hosts++;
        } else if (same_name(name, "Content-Length", 14)) {
            if (body ? !read_length(value, &head->body_len) : !text_equal(value, TEXT("0")))
                return false;
            lengths++;
        } else if (same_name(name, "Transfer-Encoding", 17)) {
            head->coded = true;
        }
    }
    if (body ? lengths > 1 || (head->coded && lengths > 0) : head->coded)
        return false;
    return hosts == 1 || (hosts == 0 && head->minor == 0);
}

static enum http_result read_lines(struct http_head *head, struct cursor *c, bool body)
{
    enum http_result result = request_line(head, c);
    while (result == HTTP_DONE) {
        if (c->at == c->end)
            return HTTP_MORE;
        if (*c->at == '\r') {
            result = expect(c, "\r\n");
            if (result == HTTP_DONE && !consistent(head, body))
                result = HTTP_BAD;
            break;
        }
        if (head->header_count == HTTP_HEADERS_MAX)
            return is_in(*c->at, IN_TOKEN) ? HTTP_LARGE : HTTP_BAD;
        result = header_line(&head->headers[head->header_count], c);
        if (result == HTTP_DONE)
            head->header_count++;
    }
    return result;
}

static enum http_result read_head(
    struct http_head *head, const char *bytes, size_t len, size_t *used, bool body)
{
    struct cursor c = {bytes, bytes + (len < HTTP_HEAD_MAX ? len : HTTP_HEAD_MAX)};
    head->header_count = 0;
    head->body_len = 0;
    head->coded = false;
    enum http_result result = read_lines(head, &c, body);
    if (result == HTTP_MORE && len >= HTTP_HEAD_MAX)
        return HTTP_LARGE;
    if (result == HTTP_DONE)
        *used = (size_t)(c.at - bytes);
    return result;
}

enum http_result http_head_read(struct http_head *head, const char *bytes, size_t len, size_t *used)
{
    return read_head(head, bytes, len, used, false);
}

enum http_result http_head_read_with_body(
    struct http_head *head, const char *bytes, size_t len, size_t *used)
{
    return read_head(head, bytes, len, used, true);
}

bool http_is_named(const struct http_header *header, const char *name)
{
    return same_name(header->name, name, strlen(name));
}

const struct http_header *http_find(const struct http_head *head, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < head->header_count; i++)
        if (same_name(head->headers[i].name, name, len))
            return &head->headers[i];
    return NULL;
}

size_t http_count(const struct http_head *head, const char *name)
{
    size_t len = strlen(name);
    size_t count = 0;
    for (size_t i = 0; i < head->header_count; i++)
        count += same_name(head->headers[i].name, name, len);
    return count;
}

bool http_list_next(struct text *list, struct text *element)
{
    if (list->len == 0)
        return false;
    const char *comma = memchr(list->at, ',', list->len);
    struct text e = {list->at, comma ? (size_t)(comma - list->at) : list->len};
    size_t step = e.len + (comma != NULL);
    *list = (struct text){list->at + step, list->len - step};
    *element = trim(e);
    return true;
}

bool http_list_has(const struct http_head *head, const char *name, const char *token)
{
    size_t name_len = strlen(name);
    size_t token_len = strlen(token);
    for (size_t i = 0; i < head->header_count; i++) {
        if (!same_name(head->headers[i].name, name, name_len))
            continue;
        struct text list = head->headers[i].value;
        struct text e;
        while (http_list_next(&list, &e))
            if (same_name(e, token, token_len))
                return true;
    }
    return false;
}

bool http_is_token(struct text t)
{
    struct cursor c = {t.at, t.at + t.len};
    return t.len != 0 && run(&c, IN_TOKEN).len == t.len;
}
