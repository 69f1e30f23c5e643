/* What tls_trust.c, tls_client.c and tls_problem.c share. */
#ifndef HERMES_NET_TLS_TRUST_H
#define HERMES_NET_TLS_TRUST_H

#include "base/buf.h"
#include "net/tls_client.h"
#include "net/tls_lend.h"
#include "net/tls_library.h"

enum { TLS_PROBLEM_TEXT = 160 };

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

struct tls_client {
    mbedtls_ssl_context ssl;
    struct tls_trust *trust;
    struct tls_places places;
    struct buf in;
    size_t in_at;
    struct buf out;
    size_t out_at;
    uint8_t address[16]; /* what the certificate has to be for, */
    size_t address_len;  /* when that is an address and no name */
    bool in_ended;
    bool shaken;
    bool asked;     /* a certificate was sent, be it none: the server has asked for one */
    bool heard;     /* bytes were read since */
    uint8_t hidden; /* encrypted records of the handshake */
    bool broken;
    enum tls_client_problem kind;
    char problem[TLS_PROBLEM_TEXT];
};

/* It is broken, for what the library said: TLS_CLIENT_BROKEN. */
int tls_client_broke(struct tls_client *c, int code);

#endif
