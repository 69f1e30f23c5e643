#include "proto/origins.h"

#include <stdlib.h>
#include <string.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* ASCII alone, whatever the locale says about letters. */
static bool same(struct text a, struct text b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.at[i]) != lower(b.at[i]))
            return false;
    return true;
}

static bool is_letter(char c)
{
    return lower(c) >= 'a' && lower(c) <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_scheme(struct text t)
{
    if (t.len == 0 || !is_letter(t.at[0]))
        return false;
    for (size_t i = 1; i < t.len; i++)
        if (!is_letter(t.at[i]) && !is_digit(t.at[i]) && !memchr("+-.", t.at[i], 3))
            return false;
    return true;
}

/* A name, an IPv4 address, or an IPv6 address in brackets: of the right characters, as a browser
 * writes it. It is only compared. */
static bool is_host(struct text t)
{
    bool brackets = t.len > 2 && t.at[0] == '[' && t.at[t.len - 1] == ']';
    if (t.len == 0 || t.at[0] == '.')
        return false;
    for (size_t i = brackets; i < t.len - brackets; i++) {
        char c = t.at[i];
        bool ok = is_letter(c) || is_digit(c) || c == '.';
        if (!ok && (brackets ? c != ':' : c != '-' && c != '_'))
            return false;
    }
    return true;
}

static uint16_t default_port(struct text scheme)
{
    if (same(scheme, TEXT("https")) || same(scheme, TEXT("wss")))
        return 443;
    return same(scheme, TEXT("http")) || same(scheme, TEXT("ws")) ? 80 : 0;
}

/* Takes ":port" from the end of the text; false when what stands there is none. */
static bool take_port(struct text *t, uint16_t *port)
{
    size_t at = t->len;
    unsigned number = 0;
    while (at > 0 && is_digit(t->at[at - 1]))
        at--;
    if (at == 0 || t->at[at - 1] != ':')
        return true;
    if (at == t->len || t->len - at > 5 || t->at[at] == '0')
        return false;
    for (size_t i = at; i < t->len; i++)
        number = number * 10 + (unsigned)(t->at[i] - '0');
    *port = (uint16_t)number;
    t->len = at - 1;
    return number <= UINT16_MAX;
}

static bool parse_origin(struct origin *o, struct text t)
{
    const char *mark = t.len > 0 ? memmem(t.at, t.len, "://", 3) : NULL;
    if (!mark)
        return false;
    *o = (struct origin){.scheme = {t.at, (size_t)(mark - t.at)}};
    o->host = (struct text){mark + 3, t.len - o->scheme.len - 3};
    o->port = default_port(o->scheme);
    return is_scheme(o->scheme) && take_port(&o->host, &o->port);
}

/* --- the list --------------------------------------------------------------------------------- */

static struct text trim(struct text t)
{
    while (t.len > 0 && (t.at[0] == ' ' || t.at[0] == '\t'))
        t = (struct text){t.at + 1, t.len - 1};
    while (t.len > 0 && (t.at[t.len - 1] == ' ' || t.at[t.len - 1] == '\t'))
        t.len--;
    return t;
}

static bool add(struct origins *o, struct text t)
{
    struct origin *new = &o->entries[o->count];
    if (text_equal(t, TEXT("*"))) {
        o->all = true;
        return true;
    }
    if (text_equal(t, TEXT("null"))) {
        o->null = true;
        return true;
    }
    if (!parse_origin(new, t))
        return false;
    struct text host = new->host;
    new->wildcard = text_starts_with(host, TEXT("*."));
    if (new->wildcard) {
        new->host = (struct text){host.at + 1, host.len - 1};
        host = (struct text){host.at + 2, host.len - 2};
    }
    o->count++;
    return is_host(host);
}

enum origins_fault origins_parse(struct origins *o, const char *string, struct text *wrong)
{
    size_t most = 1;
    for (const char *at = string; *at; at++)
        most += *at == ',';
    *o = (struct origins){0};
    o->string = malloc(strlen(string) + 1);
    o->entries = calloc(most, sizeof *o->entries);
    if (!o->string || !o->entries) {
        origins_fini(o);
        return ORIGINS_NO_MEMORY;
    }
    memcpy(o->string, string, strlen(string) + 1);
    struct text rest = text_of(o->string);
    for (size_t i = 0; i < most; i++) {
        size_t len = 0;
        while (len < rest.len && rest.at[len] != ',')
            len++;
        struct text entry = trim((struct text){rest.at, len});
        if (!add(o, entry)) {
            *wrong = (struct text){string + (entry.at - o->string), entry.len};
            origins_fini(o);
            return ORIGINS_INVALID;
        }
        if (len < rest.len)
            rest = (struct text){rest.at + len + 1, rest.len - len - 1};
    }
    return ORIGINS_OK;
}

void origins_fini(struct origins *o)
{
    free(o->entries);
    free(o->string);
    *o = (struct origins){0};
}

/* --- a request -------------------------------------------------------------------------------- */

static bool matches(const struct origin *allowed, const struct origin *o)
{
    if (allowed->port != o->port || !same(allowed->scheme, o->scheme))
        return false;
    if (!allowed->wildcard)
        return same(allowed->host, o->host);
    if (o->host.len <= allowed->host.len)
        return false;
    size_t front = o->host.len - allowed->host.len;
    return same(allowed->host, (struct text){o->host.at + front, allowed->host.len});
}

bool origins_allow(const struct origins *o, struct text origin)
{
    struct origin parsed;
    if (o->all || !origin.at)
        return true;
    if (text_equal(origin, TEXT("null")))
        return o->null;
    if (!parse_origin(&parsed, origin) || !is_host(parsed.host))
        return false;
    for (size_t i = 0; i < o->count; i++)
        if (matches(&o->entries[i], &parsed))
            return true;
    return false;
}
