#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "hermes/client.h"

static const struct {
    const char *name;
    uint16_t port;
} schemes[] = {{"ws", 80}, {"wss", 443}, {"http", 80}, {"https", 443}};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static const char *scheme_read(struct hermes_url *out, const char *at)
{
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t len = strlen(schemes[i].name);
        size_t same = 0;
        while (same < len && lower(at[same]) == schemes[i].name[same])
            same++;
        if (same < len || strncmp(at + len, "://", 3) != 0)
            continue;
        memcpy(out->scheme, schemes[i].name, len + 1);
        out->port = schemes[i].port;
        return at + len + 3;
    }
    return NULL;
}

static bool host_char(char c, bool ipv6)
{
    c = lower(c);
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= (ipv6 ? 'f' : 'z')) || c == '.')
        return true;
    return ipv6 ? c == ':' : c == '-' || c == '_';
}

static const char *host_read(struct hermes_url *out, const char *at)
{
    out->ipv6 = *at == '[';
    if (out->ipv6)
        at++;
    size_t len = 0;
    while (host_char(at[len], out->ipv6))
        len++;
    if (len == 0 || len >= sizeof out->host)
        return NULL;
    memcpy(out->host, at, len);
    out->host[len] = 0;
    at += len;
    if (out->ipv6 && *at++ != ']')
        return NULL;
    return at;
}

static const char *port_read(struct hermes_url *out, const char *at)
{
    if (*at != ':')
        return at;
    unsigned port = 0;
    for (at++; *at >= '0' && *at <= '9'; at++) {
        port = port * 10 + (unsigned)(*at - '0');
        if (port > 65535)
            return NULL;
    }
    if (port == 0)
        return NULL;
    out->port = (uint16_t)port;
    return at;
}

bool hermes_url_parse(struct hermes_url *out, const char *url)
{
    *out = (struct hermes_url){0};
    const char *at = scheme_read(out, url);
    if (at)
        at = host_read(out, at);
    if (at)
        at = port_read(out, at);
    if (!at || (*at && *at != '/' && *at != '?'))
        return false;
    out->target = at;
    for (; *at; at++)
        if (*at <= ' ' || *at > '~' || *at == '#')
            return false;
    return true;
}
