/* The client behind proxies that are trusted, as X-Forwarded-For tells it.
 *
 * Each proxy appends whom it got the request from, so the list is read from its right end for as
 * long as a trusted proxy wrote what is there; what stands further left anyone may have made up.
 * Threads: any. */
#ifndef HERMES_NET_FORWARDED_H
#define HERMES_NET_FORWARDED_H

#include <stddef.h>

#include "net/cidr.h"
#include "net/endpoint.h"

/* `lines`: the values of all X-Forwarded-For headers, in the order they came in. The first address
 * from the right that is not trusted; when all are, the leftmost. The peer itself when it is not
 * trusted, there are no addresses, or what a trusted proxy wrote is none ("unknown"): better a
 * proxy too close than an address that anyone may choose. Ports are borne, and kept. */
struct endpoint forwarded_client(
    const struct cidr_list *trusted, struct endpoint peer, const struct text *lines, size_t count);

#endif
