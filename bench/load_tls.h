/* TLS under the load generators' connections, by mbedTLS.
 *
 * It offers one version, one curve, one hash, and of suites AES-128-GCM alone, so that every server
 * does the same, and believes every certificate: what is measured is the server.
 * Order: load_tls_new; of a connection load_dial, load_tls_begin, load_tls_step until it is done,
 *   or load_tls_shake for both. load_close ends it.
 * Memory: 40 KiB a connection.
 * Threads: none. */
#ifndef HERMES_BENCH_LOAD_TLS_H
#define HERMES_BENCH_LOAD_TLS_H

#include "load.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>

#if MBEDTLS_VERSION_MAJOR >= 3
#include <psa/crypto.h>
#endif

enum {
    LOAD_TLS_RECORD = 16384 + 512, /* with all that is around it, and then some */
    LOAD_TLS_READ = 1 << 20,
    LOAD_TLS_FLIGHT = 8192, /* what a side says at once in a handshake */
};

/* What was received and not taken by the library yet. */
struct load_raw {
    unsigned char *bytes;
    size_t at, len;
};

static inline int load_raw_take(struct load_raw *raw, unsigned char *to, size_t len)
{
    size_t part = len < raw->len ? len : raw->len;
    if (!part)
        return MBEDTLS_ERR_SSL_WANT_READ;
    memcpy(to, raw->bytes + raw->at, part);
    raw->at += part;
    raw->len -= part;
    return (int)part;
}

/* One recv. `room` is where the bytes are to be decrypted to: they fit, with those of a record of
 * which a part came earlier, if there is more room than two records need. */
static inline ssize_t load_raw_fill(struct load_raw *raw, int fd, size_t room)
{
    size_t most = room > 2 * LOAD_TLS_RECORD ? room - LOAD_TLS_RECORD : room;
    ssize_t got = recv(fd, raw->bytes, most < LOAD_TLS_READ ? most : LOAD_TLS_READ, 0);
    raw->at = 0;
    raw->len = got > 0 ? (size_t)got : 0;
    return got;
}

/* Decrypts all of it. Returns the bytes, and the library's code of why there are no more. */
static inline size_t load_raw_decrypt(
    mbedtls_ssl_context *ssl, unsigned char *to, size_t room, int *code)
{
    size_t have = 0;
    *code = MBEDTLS_ERR_SSL_WANT_READ;
    while (have < room) {
        int n = mbedtls_ssl_read(ssl, to + have, room - have);
        if (n <= 0) {
            *code = n;
            break;
        }
        have += (size_t)n;
    }
    return have;
}

/* What all connections share. */
struct load_tls {
    mbedtls_ssl_config config;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    struct load_raw raw;
    unsigned char flight[LOAD_TLS_FLIGHT];
    size_t flight_len;
    mbedtls_ssl_session session; /* to resume */
    bool has_session;
};

struct load_tls_side {
    mbedtls_ssl_context ssl;
    struct load_tls *tls;
    size_t received; /* in the handshake */
    int fd;
    bool done;
};

static inline struct load_tls *load_tls_new(void)
{
    static const int suites[] = {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, 0};
    struct load_tls *t = calloc(1, sizeof *t);
    if (!t || !(t->raw.bytes = malloc(LOAD_TLS_READ)))
        load_die("no memory");
    mbedtls_ssl_config_init(&t->config);
    mbedtls_entropy_init(&t->entropy);
    mbedtls_ctr_drbg_init(&t->random);
    mbedtls_ssl_session_init(&t->session);
    if (mbedtls_ctr_drbg_seed(&t->random, mbedtls_entropy_func, &t->entropy, NULL, 0) ||
        mbedtls_ssl_config_defaults(&t->config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
            MBEDTLS_SSL_PRESET_DEFAULT))
        load_die("mbedTLS does not start");
    mbedtls_ssl_conf_rng(&t->config, mbedtls_ctr_drbg_random, &t->random);
    mbedtls_ssl_conf_authmode(&t->config, MBEDTLS_SSL_VERIFY_NONE);
    mbedtls_ssl_conf_ciphersuites(&t->config, suites);
#if MBEDTLS_VERSION_MAJOR >= 3
    static const uint16_t groups[] = {
        MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1, MBEDTLS_SSL_IANA_TLS_GROUP_NONE};
    static const uint16_t signatures[] = {MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256,
        MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256, MBEDTLS_TLS1_3_SIG_NONE};
    psa_crypto_init();
    mbedtls_ssl_conf_min_tls_version(&t->config, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_max_tls_version(&t->config, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_groups(&t->config, groups);
    mbedtls_ssl_conf_sig_algs(&t->config, signatures);
#else
    static const mbedtls_ecp_group_id groups[] = {MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_NONE};
    static const int hashes[] = {MBEDTLS_MD_SHA256, MBEDTLS_MD_NONE};
    mbedtls_ssl_conf_min_version(
        &t->config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_curves(&t->config, groups);
    mbedtls_ssl_conf_sig_hashes(&t->config, hashes);
#endif
    return t;
}

static inline int load_tls_bio_receive(void *of, unsigned char *bytes, size_t len)
{
    struct load_tls_side *side = of;
    int n = load_raw_take(&side->tls->raw, bytes, len);
    side->received += n > 0 && !side->done ? (size_t)n : 0;
    return n;
}

/* What a handshake says goes out as one, or the server is woken for each message. */
static inline int load_tls_bio_send(void *of, const unsigned char *bytes, size_t len)
{
    struct load_tls_side *side = of;
    struct load_tls *t = side->tls;
    if (!side->done) {
        if (len > sizeof t->flight - t->flight_len)
            load_die("a handshake of more than %zu bytes", sizeof t->flight);
        memcpy(t->flight + t->flight_len, bytes, len);
        t->flight_len += len;
        return (int)len;
    }
    ssize_t n = send(side->fd, bytes, len, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN ? MBEDTLS_ERR_SSL_WANT_WRITE : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
    return (int)n;
}

static inline ssize_t load_tls_receive(struct load_conn *c, void *bytes, size_t len)
{
    struct load_tls_side *side = c->of;
    for (;;) {
        int code;
        size_t have = load_raw_decrypt(&side->ssl, bytes, len, &code);
        if (side->tls->raw.len)
            load_die("more was received than %zu bytes have room for", len);
        if (have)
            return (ssize_t)have;
        if (code == 0 || code == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
            return 0;
        if (code != MBEDTLS_ERR_SSL_WANT_READ)
            load_die("mbedtls_ssl_read: -0x%04x", (unsigned)-code);
        ssize_t got = load_raw_fill(&side->tls->raw, c->fd, len);
        if (got <= 0)
            return got;
    }
}

static inline ssize_t load_tls_send(struct load_conn *c, const void *bytes, size_t len)
{
    struct load_tls_side *side = c->of;
    int n = mbedtls_ssl_write(&side->ssl, bytes, len);
    if (n == MBEDTLS_ERR_SSL_WANT_WRITE)
        errno = EAGAIN;
    else if (n < 0)
        errno = EPIPE;
    return n < 0 ? -1 : n;
}

static inline void load_tls_close(struct load_conn *c)
{
    struct load_tls_side *side = c->of;
    if (side->done)
        mbedtls_ssl_close_notify(&side->ssl);
    mbedtls_ssl_free(&side->ssl);
    free(side);
}

static inline void load_tls_begin(struct load_tls *t, struct load_conn *c, bool resume)
{
    static const struct load_wire wire = {load_tls_receive, load_tls_send, load_tls_close};
    struct load_tls_side *side = calloc(1, sizeof *side);
    if (!side)
        load_die("no memory");
    side->tls = t;
    side->fd = c->fd;
    mbedtls_ssl_init(&side->ssl);
    if (mbedtls_ssl_setup(&side->ssl, &t->config) ||
        (resume && mbedtls_ssl_set_session(&side->ssl, &t->session)))
        load_die("no memory");
    mbedtls_ssl_set_bio(&side->ssl, side, load_tls_bio_send, load_tls_bio_receive, NULL);
    c->wire = &wire;
    c->of = side;
}

/* Goes on with the handshake as far as it goes; true when it is done. On a socket that blocks it
 * is. */
static inline bool load_tls_step(struct load_conn *c)
{
    struct load_tls_side *side = c->of;
    struct load_tls *t = side->tls;
    for (;;) {
        int code = mbedtls_ssl_handshake(&side->ssl);
        for (size_t at = 0; at < t->flight_len;) {
            ssize_t n = send(c->fd, t->flight + at, t->flight_len - at, MSG_NOSIGNAL);
            if (n < 0)
                load_die("in a handshake: send: %s", strerror(errno));
            at += (size_t)n;
        }
        t->flight_len = 0;
        if (code == 0)
            return side->done = true;
        if (code != MBEDTLS_ERR_SSL_WANT_READ)
            load_die("mbedtls_ssl_handshake: -0x%04x", (unsigned)-code);
        ssize_t got = load_raw_fill(&t->raw, c->fd, LOAD_TLS_READ);
        if (got < 0 && errno == EAGAIN)
            return false;
        if (got <= 0)
            load_die("in a handshake: %s", got ? strerror(errno) : "the server has closed");
    }
}

/* So that others can resume what this one began. */
static inline void load_tls_keep(struct load_tls *t, struct load_conn *c)
{
    struct load_tls_side *side = c->of;
    if (mbedtls_ssl_get_session(&side->ssl, &t->session))
        load_die("the session cannot be kept");
    t->has_session = true;
}

/* A whole handshake on a socket that blocks; all but the first resume. */
static inline void load_tls_shake(struct load_tls *t, struct load_conn *c)
{
    load_tls_begin(t, c, t->has_session);
    if (!load_tls_step(c))
        load_die("a handshake does not end");
    if (!t->has_session)
        load_tls_keep(t, c);
}

#endif
