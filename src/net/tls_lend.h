/* The two 16 KiB buffers of each of the library's contexts, lent to it only while it has bytes in
 * them.
 *
 * mbedTLS gives every connection 33 KiB for its life. Between two records there is nothing in there
 * but the number of the next one, so a worker needs a few pairs for all of its connections: an idle
 * one then costs a tenth, and whoever writes finds the buffer in the cache. The library is as it
 * is; its context is changed between two calls of it, as it does itself where it was built for
 * buffers of various lengths (where it was, or is a version not known here, this does nothing).
 *
 * Order: tls_lend before each call that reads or writes once the handshake is over, tls_return
 *   behind it.
 * Memory: spare pairs are kept, LEND_SPARES at most. All buffers of a library are of one size.
 * Threads: one at a time. */
#ifndef HERMES_NET_TLS_LEND_H
#define HERMES_NET_TLS_LEND_H

#include <stdint.h>

#include "net/tls_library.h"

enum { LEND_SPARES = 8, LEND_POINTERS = 6, LEND_COUNTER = 8 };

/* One of the two buffers' places while it is away. */
struct tls_place {
    uint8_t counter[LEND_COUNTER];
    uint8_t offsets[LEND_POINTERS];
    bool away;
};

struct tls_places {
    struct tls_place in;
    struct tls_place out;
};

struct tls_lender {
    unsigned char *in[LEND_SPARES];
    unsigned char *out[LEND_SPARES];
    unsigned in_count;
    unsigned out_count;
};

/* Whoever reads may have to write, too: an alert. */
enum tls_lending { LEND_OUT, LEND_BOTH };

/* Gives the context what it lacks; false when there is no memory. */
bool tls_lend(
    struct tls_lender *l, struct tls_places *p, mbedtls_ssl_context *ssl, enum tls_lending what);

/* Takes back what is empty. */
void tls_return(struct tls_lender *l, struct tls_places *p, mbedtls_ssl_context *ssl);

/* Frees what is kept. */
void tls_lender_fini(struct tls_lender *l);

#endif
