/* What tls_config.c makes, and tls.c and tls_user.c work with. */
#ifndef HERMES_NET_TLS_STATE_H
#define HERMES_NET_TLS_STATE_H

#include <stdint.h>

#include "net/tls_config.h"
#include "net/tls_lend.h"
#include "net/tls_tickets.h"

enum { TLS_RECORD = 16384, TLS_PRINT = 32 };

struct tls_config {
    mbedtls_ssl_config ssl;
    mbedtls_x509_crt chain;
    mbedtls_pk_context key;
    mbedtls_x509_crt client_ca;
    struct tls_tickets *tickets; /* NULL: none are given */
    unsigned users;
    uint8_t print[TLS_PRINT]; /* a digest of all files */

    /* While a session of it reads or writes. */
    struct tls_lender lender;
    const uint8_t *raw; /* received, not taken by the library yet */
    size_t raw_len;
    uint8_t small[TLS_RECORD]; /* pieces gathered for one record; what a handshake may take */
};

/* What a read found behind the last bytes: for the next one to tell. */
enum tls_end { TLS_GOES_ON, TLS_ENDED, TLS_BROKEN };

struct tls {
    mbedtls_ssl_context ssl;
    struct tls_config *config;
    struct tls_places places;
    int fd;
    uint32_t sent; /* bytes, since that was last asked for */
    uint8_t end;   /* enum tls_end */
    bool greeting; /* the handshake goes on */
    bool goes_on;  /* more follows at once what is sent now: messages of a flight, records */
    bool more;     /* the kernel was told that more comes */
    bool finishing;
    bool finished;
};

#endif
