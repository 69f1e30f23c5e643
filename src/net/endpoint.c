#include "net/endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

struct endpoint endpoint_of(const struct sockaddr *address)
{
    struct endpoint e = {0};
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        memcpy(e.ip.bytes, mapped, sizeof mapped);
        memcpy(e.ip.bytes + 12, &v4->sin_addr, 4);
        e.port = ntohs(v4->sin_port);
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
        memcpy(e.ip.bytes, &v6->sin6_addr, 16);
        e.port = ntohs(v6->sin6_port);
    }
    return e;
}

struct endpoint endpoint_of_peer(int fd)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof address;
    if (getpeername(fd, (struct sockaddr *)&address, &len) != 0)
        return (struct endpoint){0};
    return endpoint_of((const struct sockaddr *)&address);
}

bool ip_parse_family(struct ip *ip, struct text t, int family)
{
    char string[INET6_ADDRSTRLEN];
    if (t.len == 0 || t.len >= sizeof string || memchr(t.at, '\0', t.len))
        return false;
    memcpy(string, t.at, t.len);
    string[t.len] = '\0';
    memcpy(ip->bytes, mapped, sizeof mapped);
    return inet_pton(family, string, family == AF_INET ? ip->bytes + 12 : ip->bytes) == 1;
}

bool ip_parse(struct ip *ip, struct text t)
{
    return ip_parse_family(ip, t, AF_INET) || ip_parse_family(ip, t, AF_INET6);
}

bool port_parse(uint16_t *port, struct text t)
{
    unsigned number = 0;
    if (t.len == 0 || t.len > 5 || (t.len > 1 && t.at[0] == '0'))
        return false;
    for (size_t i = 0; i < t.len; i++) {
        if (t.at[i] < '0' || t.at[i] > '9')
            return false;
        number = number * 10 + (unsigned)(t.at[i] - '0');
    }
    *port = (uint16_t)number;
    return number <= UINT16_MAX;
}

bool endpoint_parse(struct endpoint *e, struct text t)
{
    e->port = 0;
    if (t.len > 0 && t.at[0] == '[') {
        const char *end = memchr(t.at, ']', t.len);
        if (!end)
            return false;
        size_t inside = (size_t)(end - t.at) - 1;
        struct text behind = {end + 1, t.len - inside - 2};
        if (!ip_parse_family(&e->ip, (struct text){t.at + 1, inside}, AF_INET6))
            return false;
        return behind.len == 0 ||
               (*behind.at == ':' &&
                   port_parse(&e->port, (struct text){behind.at + 1, behind.len - 1}));
    }
    if (ip_parse(&e->ip, t))
        return true;
    const char *colon = t.len > 0 ? memchr(t.at, ':', t.len) : NULL;
    if (!colon)
        return false;
    size_t front = (size_t)(colon - t.at);
    return ip_parse_family(&e->ip, (struct text){t.at, front}, AF_INET) &&
           port_parse(&e->port, (struct text){colon + 1, t.len - front - 1});
}

bool ip_is_known(const struct ip *ip)
{
    static const struct ip unknown;
    return memcmp(ip, &unknown, sizeof unknown) != 0;
}

bool ip_is_v4(const struct ip *ip)
{
    return memcmp(ip->bytes, mapped, sizeof mapped) == 0;
}

const char *endpoint_text(const struct endpoint *e, char out[ENDPOINT_TEXT_MAX])
{
    char ip[INET6_ADDRSTRLEN] = "unknown";
    bool v4 = ip_is_v4(&e->ip);
    if (!ip_is_known(&e->ip)) {
        memcpy(out, ip, sizeof "unknown");
        return out;
    }
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? e->ip.bytes + 12 : e->ip.bytes, ip, sizeof ip);
    if (e->port == 0)
        snprintf(out, ENDPOINT_TEXT_MAX, "%s", ip);
    else
        snprintf(out, ENDPOINT_TEXT_MAX, v4 ? "%s:%u" : "[%s]:%u", ip, e->port);
    return out;
}
