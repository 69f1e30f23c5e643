/* Where a connection comes from: an IP address and perhaps a port, in one form for all families.
 *
 * An IPv4 address is held as the IPv4-mapped IPv6 one, so the two ways in which a kernel or a proxy
 * may tell of it are one.
 * Threads: any. */
#ifndef HERMES_NET_ENDPOINT_H
#define HERMES_NET_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/text.h"

struct ip {
    uint8_t bytes[16]; /* network order; all zero: unknown */
};

struct endpoint {
    struct ip ip;
    uint16_t port; /* 0: unknown */
};

/* "[IPv6]:65535" and its terminator. */
enum { ENDPOINT_TEXT_MAX = 56 };

/* Unknown unless the address is one of IPv4 or IPv6. */
struct endpoint endpoint_of(const struct sockaddr *address);

/* Who is at the other end of a socket; unknown when it is gone or no internet socket. */
struct endpoint endpoint_of_peer(int fd);

/* An IPv4 address in four decimal parts or an IPv6 address, and nothing else (no brackets, port or
 * zone). False: it is neither. */
bool ip_parse(struct ip *ip, struct text t);

/* The same, but only as AF_INET or AF_INET6 writes it ("::ffff:1.2.3.4" is AF_INET6). */
bool ip_parse_family(struct ip *ip, struct text t, int family);

/* The same, and perhaps a port: "1.2.3.4", "1.2.3.4:56", "::1", "[::1]", "[::1]:56". */
bool endpoint_parse(struct endpoint *e, struct text t);

/* 0 to 65535 in decimal, without leading zeros. */
bool port_parse(uint16_t *port, struct text t);

bool ip_is_known(const struct ip *ip);
bool ip_is_v4(const struct ip *ip);

/* "1.2.3.4:56", "[::1]:56", without a known port "1.2.3.4", "::1"; "unknown". Returns `out`. */
const char *endpoint_text(const struct endpoint *e, char out[ENDPOINT_TEXT_MAX]);

#endif
