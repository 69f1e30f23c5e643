/* TLS between a peer's socket and its frames: mbedTLS as it is, a context a connection.
 *
 * What is received by one recv is decrypted from memory; what is sent, in records as long as they
 * may be, goes out by one send: straight from the library's buffer where it is one record, gathered
 * first where there are several, and so are a handshake's messages. Suites, curves and tickets are
 * the first of those that Hermes has.
 *
 * What it does not: bound what a handshake may take or how long, give buffers back between records,
 * slice handshakes, ALPN, client certificates, reload, or tell why something failed. */
#define _GNU_SOURCE
#include "../load_tls.h"
#include "floor.h"

#include <mbedtls/ssl_ticket.h>

enum { TICKET_SECONDS = 6 * 3600 };

struct floor_tls {
    mbedtls_ssl_config config;
    mbedtls_x509_crt chain;
    mbedtls_pk_context key;
    mbedtls_ssl_ticket_context tickets;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    struct load_raw raw;
    unsigned char *sealed; /* what goes out by the next send */
    size_t sealed_len, sealed_cap;
    bool gathers;
};

struct peer_tls {
    mbedtls_ssl_context ssl;
    struct floor *f;
    struct peer *p;
    bool greeted;
};

static int receive(void *of, unsigned char *bytes, size_t len)
{
    struct peer_tls *side = of;
    return load_raw_take(&side->f->tls->raw, bytes, len);
}

/* Takes all: what the socket does not is kept where the plain floor keeps it. */
static int transmit(void *of, const unsigned char *bytes, size_t len)
{
    struct peer_tls *side = of;
    struct floor_tls *t = side->f->tls;
    if (!t->gathers) {
        peer_put(side->f, side->p, bytes, len);
        return (int)len;
    }
    if (len > t->sealed_cap - t->sealed_len) {
        t->sealed_cap = (t->sealed_len + len) * 2;
        if (!(t->sealed = realloc(t->sealed, t->sealed_cap)))
            load_die("no memory");
    }
    memcpy(t->sealed + t->sealed_len, bytes, len);
    t->sealed_len += len;
    return (int)len;
}

static void send_gathered(struct floor *f, struct peer *p)
{
    struct floor_tls *t = f->tls;
    t->gathers = false;
    if (t->sealed_len)
        peer_put(f, p, t->sealed, t->sealed_len);
    t->sealed_len = 0;
}

/* As Hermes would choose. */
static void choose(mbedtls_ssl_config *config)
{
    static const int suites[] = {
#if MBEDTLS_VERSION_MAJOR >= 3
        MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
#endif
        MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        0
    };
#if MBEDTLS_VERSION_MAJOR >= 3
    static const uint16_t groups[] = {MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
        MBEDTLS_SSL_IANA_TLS_GROUP_X25519, MBEDTLS_SSL_IANA_TLS_GROUP_NONE};
    mbedtls_ssl_conf_groups(config, groups);
#else
    static const mbedtls_ecp_group_id groups[] = {
        MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_CURVE25519, MBEDTLS_ECP_DP_NONE};
    mbedtls_ssl_conf_curves(config, groups);
#endif
    mbedtls_ssl_conf_ciphersuites(config, suites);
}

struct floor_tls *floor_tls_new(const char *certificate, const char *key)
{
    struct floor_tls *t = calloc(1, sizeof *t);
    if (!t || !(t->raw.bytes = malloc(LOAD_TLS_READ)))
        load_die("no memory");
    mbedtls_ssl_config_init(&t->config);
    mbedtls_x509_crt_init(&t->chain);
    mbedtls_pk_init(&t->key);
    mbedtls_ssl_ticket_init(&t->tickets);
    mbedtls_entropy_init(&t->entropy);
    mbedtls_ctr_drbg_init(&t->random);
    if (mbedtls_ctr_drbg_seed(&t->random, mbedtls_entropy_func, &t->entropy, NULL, 0))
        load_die("mbedTLS does not start");
    if (mbedtls_x509_crt_parse_file(&t->chain, certificate))
        load_die("%s: no certificate", certificate);
#if MBEDTLS_VERSION_MAJOR >= 3
    psa_crypto_init();
    int code = mbedtls_pk_parse_keyfile(&t->key, key, NULL, mbedtls_ctr_drbg_random, &t->random);
#else
    int code = mbedtls_pk_parse_keyfile(&t->key, key, NULL);
#endif
    if (code)
        load_die("%s: no key", key);
    if (mbedtls_ssl_config_defaults(&t->config, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM,
            MBEDTLS_SSL_PRESET_DEFAULT) ||
        mbedtls_ssl_conf_own_cert(&t->config, &t->chain, &t->key) ||
        mbedtls_ssl_ticket_setup(&t->tickets, mbedtls_ctr_drbg_random, &t->random,
            MBEDTLS_CIPHER_AES_256_GCM, TICKET_SECONDS))
        load_die("mbedTLS does not start");
    choose(&t->config);
    mbedtls_ssl_conf_rng(&t->config, mbedtls_ctr_drbg_random, &t->random);
    mbedtls_ssl_conf_session_tickets_cb(
        &t->config, mbedtls_ssl_ticket_write, mbedtls_ssl_ticket_parse, &t->tickets);
    return t;
}

void peer_secure(struct floor *f, struct peer *p)
{
    struct peer_tls *side = calloc(1, sizeof *side);
    if (!side)
        load_die("no memory");
    side->f = f;
    side->p = p;
    mbedtls_ssl_init(&side->ssl);
    if (mbedtls_ssl_setup(&side->ssl, &f->tls->config))
        load_die("no memory");
    mbedtls_ssl_set_bio(&side->ssl, side, transmit, receive, NULL);
    p->tls = side;
}

ssize_t peer_unseal(struct floor *f, struct peer *p, unsigned char *to, size_t len, bool *more)
{
    struct peer_tls *side = p->tls;
    int code;
    ssize_t got = load_raw_fill(&f->tls->raw, p->fd, len);
    if (got <= 0)
        return got < 0 && errno == EAGAIN ? 0 : -1;
    *more = len > 2 * LOAD_TLS_RECORD && (size_t)got == len - LOAD_TLS_RECORD;
    if (!side->greeted) {
        f->tls->gathers = true;
        code = mbedtls_ssl_handshake(&side->ssl);
        send_gathered(f, p);
        if (code)
            return code == MBEDTLS_ERR_SSL_WANT_READ ? 0 : -1;
        side->greeted = true;
    }
    size_t have = load_raw_decrypt(&side->ssl, to, len, &code);
    if (f->tls->raw.len) /* no room: a frame that is too long for the floor */
        return -1;
    return have || code == MBEDTLS_ERR_SSL_WANT_READ ? (ssize_t)have : -1;
}

void peer_seal(struct floor *f, struct peer *p, const unsigned char *bytes, size_t len)
{
    struct peer_tls *side = p->tls;
    f->tls->gathers = len > MBEDTLS_SSL_OUT_CONTENT_LEN;
    while (len) {
        int n = mbedtls_ssl_write(&side->ssl, bytes, len);
        if (n <= 0)
            load_die("mbedtls_ssl_write: -0x%04x", (unsigned)-n);
        bytes += n;
        len -= (size_t)n;
    }
    send_gathered(f, p);
}

void peer_unsecure(struct peer *p)
{
    if (p->tls->greeted)
        mbedtls_ssl_close_notify(&p->tls->ssl);
    mbedtls_ssl_free(&p->tls->ssl);
    free(p->tls);
}
