/* Where mbedTLS 2.28 and 3.6 differ, and what is ours of it. For tls*.c only. */
#ifndef HERMES_NET_TLS_LIBRARY_H
#define HERMES_NET_TLS_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>

#define TLS_LIBRARY_3 (MBEDTLS_VERSION_NUMBER >= 0x03000000)

/* What 3.6 marks as private is read in few places: the state of a handshake, and what
 * net/tls_lend.c says. */
#if TLS_LIBRARY_3
#define TLS_PRIVATE(member) MBEDTLS_PRIVATE(member)
#else
#define TLS_PRIVATE(member) member
#endif

/* A source of random bytes as the library wants it: the system's, which needs no state, no seed and
 * no lock. */
int tls_random(void *unused, unsigned char *bytes, size_t len);

/* Before anything else of the library; false when it cannot work. May be called again. */
bool tls_library_start(void);

/* What both sides have in common: TLS 1.2 at least, forward-secret AEAD suites, no renegotiation.
 * 0 or the library's code. */
int tls_common_config(mbedtls_ssl_config *config, int endpoint);

int tls_parse_key(mbedtls_pk_context *key, const unsigned char *pem, size_t len);
int tls_check_pair(mbedtls_pk_context *public, mbedtls_pk_context *private);

static inline bool tls_newest(const mbedtls_ssl_context *ssl)
{
#if TLS_LIBRARY_3
    return mbedtls_ssl_get_version_number(ssl) == MBEDTLS_SSL_VERSION_TLS1_3;
#else
    (void)ssl;
    return false;
#endif
}

static inline int tls_over(mbedtls_ssl_context *ssl)
{
#if TLS_LIBRARY_3
    return mbedtls_ssl_is_handshake_over(ssl);
#else
    return ssl->state == MBEDTLS_SSL_HANDSHAKE_OVER;
#endif
}

#endif
