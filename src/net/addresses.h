/* How many connections there are from each address, for the limit per address.
 *
 * An IPv4 address counts for itself, an IPv6 one for its /64: that is what one customer gets.
 * Threads: any. Lock: ADDRESSES. */
#ifndef HERMES_NET_ADDRESSES_H
#define HERMES_NET_ADDRESSES_H

#include <stdint.h>

#include "base/hash.h"
#include "base/map.h"
#include "loop/lock.h"
#include "net/endpoint.h"

/* Why a connection is to be refused once its request is there. */
enum connection_refusal {
    REFUSAL_NONE,
    REFUSAL_FULL,
    REFUSAL_ADDRESS,
    REFUSAL_PLAIN,     /* it does not speak TLS, and has to */
    REFUSAL_UNDECIDED, /* not counted yet: a proxy will tell whose connection it is */
};

struct address {
    uint64_t hash;
    struct ip ip;
    uint32_t connections;
};

struct addresses {
    struct lock lock;
    struct hash_key key;
    struct map map GUARDED_BY(lock);
    uint32_t limit; /* 0: none, nothing is counted */
};

void addresses_init(struct addresses *a, uint32_t limit);
void addresses_fini(struct addresses *a);

/* Counts a connection from there (all that are unknown count as one): `*out` is to be given back
 * with address_drop (NULL when nothing is counted). False when it is one too many, or there is no
 * memory. */
bool address_hold(struct addresses *a, const struct ip *from, struct address **out);
void address_drop(struct addresses *a, struct address *address);

#endif
