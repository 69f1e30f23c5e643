/* A TLS client for tests of the server's side: the library by itself on a non-blocking socket, with
 * whatever of it a test wants to be different.
 *
 * Order: tls_peer_open, changes to `config`, tls_peer_start, the rest, tls_peer_close.
 * Ownership: the caller's struct and socket. Threads: one at a time. */
#ifndef HERMES_SUPPORT_TLS_PEER_H
#define HERMES_SUPPORT_TLS_PEER_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>

#if MBEDTLS_VERSION_NUMBER >= 0x03000000
#include <psa/crypto.h>
#endif

struct tls_peer {
    mbedtls_ssl_config config;
    mbedtls_ssl_context ssl;
    mbedtls_x509_crt ca;
    mbedtls_x509_crt own;
    mbedtls_pk_context key;
    int fd;
    size_t most; /* that one send or receive takes; 0: all */
};

static inline int tls_peer_chance(void *unused, unsigned char *bytes, size_t len)
{
    (void)unused;
    return getrandom(bytes, len, 0) == (ssize_t)len ? 0 : -1;
}

static inline int tls_peer_send(void *of, const unsigned char *bytes, size_t len)
{
    struct tls_peer *p = of;
    ssize_t sent =
        send(p->fd, bytes, p->most && len > p->most ? p->most : len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0)
        return (int)sent;
    return errno == EAGAIN ? MBEDTLS_ERR_SSL_WANT_WRITE : -1;
}

static inline int tls_peer_receive(void *of, unsigned char *bytes, size_t len)
{
    struct tls_peer *p = of;
    ssize_t got = recv(p->fd, bytes, p->most && len > p->most ? p->most : len, MSG_DONTWAIT);
    if (got >= 0)
        return (int)got;
    return errno == EAGAIN ? MBEDTLS_ERR_SSL_WANT_READ : -1;
}

static inline void tls_peer_open(struct tls_peer *p, int fd, const char *ca)
{
    memset(p, 0, sizeof *p);
    p->fd = fd;
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    if (psa_crypto_init() != PSA_SUCCESS)
        abort();
#endif
    mbedtls_ssl_config_init(&p->config);
    mbedtls_ssl_init(&p->ssl);
    mbedtls_x509_crt_init(&p->ca);
    mbedtls_x509_crt_init(&p->own);
    mbedtls_pk_init(&p->key);
    if (mbedtls_ssl_config_defaults(&p->config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
            MBEDTLS_SSL_PRESET_DEFAULT) != 0 ||
        mbedtls_x509_crt_parse(&p->ca, (const unsigned char *)ca, strlen(ca) + 1) != 0)
        abort();
    mbedtls_ssl_conf_rng(&p->config, tls_peer_chance, NULL);
    mbedtls_ssl_conf_ca_chain(&p->config, &p->ca, NULL);
    mbedtls_ssl_conf_authmode(&p->config, MBEDTLS_SSL_VERIFY_REQUIRED);
}

/* Shows a certificate when asked for one. */
static inline void tls_peer_own(struct tls_peer *p, const char *pem, const char *key)
{
    const unsigned char *bytes = (const unsigned char *)key;
    if (mbedtls_x509_crt_parse(&p->own, (const unsigned char *)pem, strlen(pem) + 1) != 0)
        abort();
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    if (mbedtls_pk_parse_key(&p->key, bytes, strlen(key) + 1, NULL, 0, tls_peer_chance, NULL) != 0)
        abort();
#else
    if (mbedtls_pk_parse_key(&p->key, bytes, strlen(key) + 1, NULL, 0) != 0)
        abort();
#endif
    if (mbedtls_ssl_conf_own_cert(&p->config, &p->own, &p->key) != 0)
        abort();
}

static inline void tls_peer_start(struct tls_peer *p, const char *host)
{
    if (mbedtls_ssl_setup(&p->ssl, &p->config) != 0 || mbedtls_ssl_set_hostname(&p->ssl, host) != 0)
        abort();
    mbedtls_ssl_set_bio(&p->ssl, p, tls_peer_send, tls_peer_receive, NULL);
}

/* Bytes read, 0 at the end, or the library's code. */
static inline int tls_peer_read(struct tls_peer *p, void *bytes, size_t len)
{
    for (;;) {
        int got = mbedtls_ssl_read(&p->ssl, bytes, len);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
        if (got == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
            continue;
#endif
        return got;
    }
}

static inline void tls_peer_close(struct tls_peer *p)
{
    mbedtls_ssl_free(&p->ssl);
    mbedtls_ssl_config_free(&p->config);
    mbedtls_x509_crt_free(&p->ca);
    mbedtls_x509_crt_free(&p->own);
    mbedtls_pk_free(&p->key);
}

#endif
