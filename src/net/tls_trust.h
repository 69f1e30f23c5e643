/* What tls_trust.c makes and tls_client.c works with. */
#ifndef HERMES_NET_TLS_TRUST_H
#define HERMES_NET_TLS_TRUST_H

#include "base/buf.h"
#include "net/tls_client.h"
#include "net/tls_lend.h"
#include "net/tls_library.h"

struct tls_trust {
    mbedtls_ssl_config ssl;
    mbedtls_x509_crt ca;
    mbedtls_x509_crt chain;
    mbedtls_pk_context key;
    unsigned users;
    /* Lent to whichever connection has bytes to keep. */
    struct tls_lender lender;
    struct buf spare_in;
    struct buf spare_out;
};

#endif
