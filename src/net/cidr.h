/* A list of addresses and networks, such as "10.0.0.0/8, ::1, 192.168.1.5".
 *
 * An IPv4 entry is the same as its IPv4-mapped IPv6 form; an IPv6 network shorter than that
 * ("::/0") holds no IPv4 address.
 * Ownership: whoever holds the struct; cidr_fini frees the entries.
 * Threads: any, once it is parsed. */
#ifndef HERMES_NET_CIDR_H
#define HERMES_NET_CIDR_H

#include <stdbool.h>
#include <stddef.h>

#include "net/endpoint.h"

enum cidr_fault { CIDR_OK, CIDR_INVALID, CIDR_NO_MEMORY };

struct cidr {
    struct ip ip;
    uint8_t bits; /* 0 to 128, 96 more than as written for IPv4 */
};

struct cidr_list {
    struct cidr *entries; /* NULL: empty */
    size_t count;
};

/* Parses a comma-separated list, which may be empty. CIDR_INVALID: `*wrong` is the entry that is no
 * address or network, or has bits set behind its prefix (10.1.2.3/8: which is meant?). Nothing is
 * left to free but after CIDR_OK. */
enum cidr_fault cidr_parse(struct cidr_list *list, const char *string, struct text *wrong);
void cidr_fini(struct cidr_list *list);

/* Whether an address is in one of them; an unknown one never is. */
bool cidr_has(const struct cidr_list *list, const struct ip *ip);

#endif
