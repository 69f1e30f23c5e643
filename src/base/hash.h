/* SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF"): strangers choose the
 * topic names, so what places them in a table has to be keyed. */
#ifndef HERMES_BASE_HASH_H
#define HERMES_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hash_key {
    uint64_t k0;
    uint64_t k1;
};

/* A key from the system's random source; dies when there is none. */
struct hash_key hash_key_random(void);

uint64_t hash_bytes(struct hash_key key, const void *bytes, size_t len);

#endif
