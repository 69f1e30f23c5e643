#include "net/cidr.h"

#include <stdlib.h>
#include <string.h>

static struct text trim(struct text t)
{
    while (t.len > 0 && (t.at[0] == ' ' || t.at[0] == '\t'))
        t = (struct text){t.at + 1, t.len - 1};
    while (t.len > 0 && (t.at[t.len - 1] == ' ' || t.at[t.len - 1] == '\t'))
        t.len--;
    return t;
}

/* Whether the first `bits` of both are the same. */
static bool same_prefix(const struct ip *a, const struct ip *b, unsigned bits)
{
    unsigned whole = bits / 8;
    unsigned rest = bits % 8;
    if (memcmp(a->bytes, b->bytes, whole) != 0)
        return false;
    return rest == 0 || (a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest) == 0;
}

static bool is_zero_behind(const struct ip *ip, unsigned bits)
{
    for (unsigned i = bits; i < 128; i++)
        if (ip->bytes[i / 8] >> (7 - i % 8) & 1)
            return false;
    return true;
}

static bool parse_entry(struct cidr *c, struct text t)
{
    const char *slash = t.len > 0 ? memchr(t.at, '/', t.len) : NULL;
    struct text ip = {t.at, slash ? (size_t)(slash - t.at) : t.len};
    uint16_t bits;
    bool v4 = ip_parse_family(&c->ip, ip, AF_INET);
    if (!v4 && !ip_parse_family(&c->ip, ip, AF_INET6))
        return false;
    c->bits = 128;
    if (!slash)
        return ip_is_known(&c->ip);
    if (!port_parse(&bits, (struct text){slash + 1, t.len - ip.len - 1}) || bits > (v4 ? 32 : 128))
        return false;
    c->bits = (uint8_t)(v4 ? bits + 96 : bits);
    return is_zero_behind(&c->ip, c->bits);
}

enum cidr_fault cidr_parse(struct cidr_list *list, const char *string, struct text *wrong)
{
    struct text rest = trim(text_of(string));
    *list = (struct cidr_list){0};
    if (rest.len == 0)
        return CIDR_OK;
    size_t most = 1;
    for (size_t i = 0; i < rest.len; i++)
        most += rest.at[i] == ',';
    list->entries = calloc(most, sizeof *list->entries);
    if (!list->entries)
        return CIDR_NO_MEMORY;
    while (list->count < most) {
        const char *comma = rest.len > 0 ? memchr(rest.at, ',', rest.len) : NULL;
        struct text entry = {rest.at, comma ? (size_t)(comma - rest.at) : rest.len};
        if (comma)
            rest = (struct text){comma + 1, rest.len - entry.len - 1};
        entry = trim(entry);
        if (!parse_entry(&list->entries[list->count++], entry)) {
            *wrong = entry;
            cidr_fini(list);
            return CIDR_INVALID;
        }
    }
    return CIDR_OK;
}

void cidr_fini(struct cidr_list *list)
{
    free(list->entries);
    *list = (struct cidr_list){0};
}

bool cidr_has(const struct cidr_list *list, const struct ip *ip)
{
    if (list->count == 0 || !ip_is_known(ip))
        return false;
    bool v4 = ip_is_v4(ip);
    for (size_t i = 0; i < list->count; i++) {
        const struct cidr *c = &list->entries[i];
        if ((!v4 || c->bits >= 96) && same_prefix(&c->ip, ip, c->bits))
            return true;
    }
    return false;
}
