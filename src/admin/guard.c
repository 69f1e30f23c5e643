#include "admin/guard.h"

#include <arpa/inet.h>
#include <strings.h>

enum { ADDRESS_MAX = 64 };

static bool same_word(struct text t, const char *word)
{
    return t.len == strlen(word) && strncasecmp(t.at, word, t.len) == 0;
}

/* Takes off ":PORT". */
static bool without_port(struct text *host)
{
    size_t at = host->len;
    while (at > 0 && host->at[at - 1] >= '0' && host->at[at - 1] <= '9')
        at--;
    if (at == 0 || host->at[at - 1] != ':')
        return false;
    host->len = at - 1;
    return true;
}

static bool is_address(struct text t, int family)
{
    char text[ADDRESS_MAX];
    unsigned char address[sizeof(struct in6_addr)];
    if (t.len >= sizeof text)
        return false;
    memcpy(text, t.at, t.len);
    text[t.len] = '\0';
    return inet_pton(family, text, address) == 1;
}

bool guard_host_is_local(struct text host)
{
    if (host.len > 0 && host.at[0] == '[') {
        if (host.at[host.len - 1] != ']')
            without_port(&host);
        return host.len > 2 && host.at[host.len - 1] == ']' &&
               is_address((struct text){host.at + 1, host.len - 2}, AF_INET6);
    }
    without_port(&host);
    return same_word(host, "localhost") || same_word(host, "localhost.") ||
           is_address(host, AF_INET);
}

bool guard_same_origin(const struct http_head *head)
{
    const struct http_header *origin = http_find(head, "Origin");
    const struct http_header *host = http_find(head, "Host");
    if (!origin)
        return true;
    if (!host || http_count(head, "Origin") > 1)
        return false;
    struct text value = origin->value;
    /* Either scheme: in front of this listener may be a proxy that speaks TLS. */
    if (text_starts_with(value, TEXT("https://")))
        value = (struct text){value.at + 8, value.len - 8};
    else if (text_starts_with(value, TEXT("http://")))
        value = (struct text){value.at + 7, value.len - 7};
    else
        return false;
    return value.len == host->value.len && strncasecmp(value.at, host->value.at, value.len) == 0;
}

bool guard_is_json(const struct http_head *head)
{
    const struct http_header *type = http_find(head, "Content-Type");
    if (!type || http_count(head, "Content-Type") > 1)
        return false;
    struct text value = type->value;
    const char *parameters = value.len ? memchr(value.at, ';', value.len) : NULL;
    if (parameters)
        value.len = (size_t)(parameters - value.at);
    while (value.len > 0 && (value.at[value.len - 1] == ' ' || value.at[value.len - 1] == '\t'))
        value.len--;
    return same_word(value, "application/json");
}

bool guard_has_token(const struct http_head *head, struct text token)
{
    const struct http_header *given = http_find(head, "Authorization");
    struct text value = given ? given->value : TEXT("");
    unsigned wrong = http_count(head, "Authorization") != 1;
    if (value.len > 7 && strncasecmp(value.at, "Bearer ", 7) == 0)
        value = (struct text){value.at + 7, value.len - 7};
    else
        wrong = 1;
    while (value.len > 0 && value.at[0] == ' ')
        value = (struct text){value.at + 1, value.len - 1};
    wrong |= value.len != token.len;
    for (size_t i = 0; i < value.len && token.len > 0; i++)
        wrong |= (unsigned char)value.at[i] ^ (unsigned char)token.at[i % token.len];
    return wrong == 0;
}
