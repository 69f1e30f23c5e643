#include "unit/client/fake_tls.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <mbedtls/ssl.h>
#include <mbedtls/version.h>

#if MBEDTLS_VERSION_NUMBER >= 0x03000000
#include <psa/crypto.h>
#endif

#include "base/die.h"
#include "support/certificates.h"

struct fake_tls {
    mbedtls_ssl_config config;
    mbedtls_x509_crt own;
    mbedtls_x509_crt ca;
    mbedtls_pk_context key;
};

struct fake_veil {
    mbedtls_ssl_context ssl;
    const unsigned char *in; /* fed, and not taken yet */
    size_t in_len;
    struct buf *out;
    bool shaken;
    bool ended;
};

/* ---- certificates ---- */

static struct {
    bool made;
    struct certificates files;
    char ca[CERTIFICATES_PATH];
    char pairs[FAKE_CERTIFICATES][CERTIFICATES_PATH];
} all;

static void all_remove(void)
{
    certificates_close(&all.files);
}

static void all_make(void)
{
    static const char *const names[] = {"good", "other", "expired", "early", "stranger", "self"};
    struct signer ca;
    struct signer stranger;
    if (all.made)
        return;
    all.made = true;
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    MUST(psa_crypto_init() == PSA_SUCCESS);
#endif
    certificates_open(&all.files);
    signer_make(&ca, "CN=Test authority", NULL);
    signer_make(&stranger, "CN=Nobody known", NULL);
    certificates_write(&all.files, all.ca, "ca.pem", ca.pem, NULL);
    for (int i = 0; i < FAKE_CERTIFICATES; i++) {
        struct certificate made;
        struct certificate_wish wish = {.name = "CN=localhost",
            .dns = i == FAKE_OTHER_HOST ? "example.org" : "localhost",
            .ip = i == FAKE_OTHER_HOST ? NULL : "127.0.0.1",
            .from_days = i == FAKE_EXPIRED   ? -9
                         : i == FAKE_NOT_YET ? 1
                                             : 0,
            .to_days = i == FAKE_EXPIRED   ? -1
                       : i == FAKE_NOT_YET ? 9
                                           : 0};
        struct signer self;
        if (i == FAKE_SELF_SIGNED)
            signer_make(&self, "CN=localhost", NULL);
        certificate_make(&made,
            i == FAKE_SELF_SIGNED ? &self
            : i == FAKE_STRANGER  ? &stranger
                                  : &ca,
            &wish);
        if (i == FAKE_SELF_SIGNED)
            signer_free(&self);
        certificates_write(&all.files, all.pairs[i], names[i], made.pem, made.key, NULL);
    }
    signer_free(&ca);
    signer_free(&stranger);
    MUST(atexit(all_remove) == 0);
}

const char *fake_tls_ca(void)
{
    all_make();
    return all.ca;
}

const char *fake_tls_file(enum fake_certificate which)
{
    all_make();
    return all.pairs[which];
}

/* ---- a server's side ---- */

static int chance(void *unused, unsigned char *bytes, size_t len)
{
    (void)unused;
    return getrandom(bytes, len, 0) == (ssize_t)len ? 0 : -1;
}

struct fake_tls *fake_tls_new(enum fake_certificate which, bool asks)
{
    static const char *protocols[] = {"http/1.1", NULL};
    struct fake_tls *t = calloc(1, sizeof *t);
    MUST(t);
    all_make();
    mbedtls_ssl_config_init(&t->config);
    mbedtls_x509_crt_init(&t->own);
    mbedtls_x509_crt_init(&t->ca);
    mbedtls_pk_init(&t->key);
    MUST(mbedtls_x509_crt_parse_file(&t->own, all.pairs[which]) == 0);
    MUST(mbedtls_x509_crt_parse_file(&t->ca, all.ca) == 0);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    MUST(mbedtls_pk_parse_keyfile(&t->key, all.pairs[which], NULL, chance, NULL) == 0);
#else
    MUST(mbedtls_pk_parse_keyfile(&t->key, all.pairs[which], NULL) == 0);
#endif
    MUST(mbedtls_ssl_config_defaults(&t->config, MBEDTLS_SSL_IS_SERVER,
             MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT) == 0);
    mbedtls_ssl_conf_rng(&t->config, chance, NULL);
    MUST(mbedtls_ssl_conf_own_cert(&t->config, &t->own, &t->key) == 0);
    mbedtls_ssl_conf_ca_chain(&t->config, &t->ca, NULL);
    mbedtls_ssl_conf_authmode(
        &t->config, asks ? MBEDTLS_SSL_VERIFY_REQUIRED : MBEDTLS_SSL_VERIFY_NONE);
    MUST(mbedtls_ssl_conf_alpn_protocols(&t->config, protocols) == 0);
    return t;
}

void fake_tls_free(struct fake_tls *t)
{
    if (!t)
        return;
    mbedtls_ssl_config_free(&t->config);
    mbedtls_x509_crt_free(&t->own);
    mbedtls_x509_crt_free(&t->ca);
    mbedtls_pk_free(&t->key);
    free(t);
}

/* ---- a connection ---- */

static int receive(void *of, unsigned char *bytes, size_t len)
{
    struct fake_veil *v = of;
    if (v->in_len == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    size_t part = len < v->in_len ? len : v->in_len;
    memcpy(bytes, v->in, part);
    v->in += part;
    v->in_len -= part;
    return (int)part;
}

static int transmit(void *of, const unsigned char *bytes, size_t len)
{
    struct fake_veil *v = of;
    buf_append(v->out, bytes, len);
    return (int)len;
}

struct fake_veil *fake_veil_new(struct fake_tls *t)
{
    struct fake_veil *v = calloc(1, sizeof *v);
    MUST(v);
    mbedtls_ssl_init(&v->ssl);
    MUST(mbedtls_ssl_setup(&v->ssl, &t->config) == 0);
    mbedtls_ssl_set_bio(&v->ssl, v, transmit, receive, NULL);
    return v;
}

void fake_veil_free(struct fake_veil *v)
{
    if (!v)
        return;
    mbedtls_ssl_free(&v->ssl);
    free(v);
}

bool fake_veil_feed(
    struct fake_veil *v, const void *bytes, size_t len, struct buf *in, struct buf *out)
{
    static unsigned char plain[16384];
    v->in = bytes;
    v->in_len = len;
    v->out = out;
    if (!v->shaken) {
        int code = mbedtls_ssl_handshake(&v->ssl);
        if (code == MBEDTLS_ERR_SSL_WANT_READ)
            return true;
        if (code == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE)
            mbedtls_ssl_send_alert_message(
                &v->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE);
        if (code != 0)
            return false;
        v->shaken = true;
    }
    for (;;) {
        int got = mbedtls_ssl_read(&v->ssl, plain, sizeof plain);
        if (got == MBEDTLS_ERR_SSL_WANT_READ)
            return true;
        v->ended |= got == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY;
        if (got <= 0)
            return false;
        buf_append(in, plain, (size_t)got);
    }
}

void fake_veil_write(struct fake_veil *v, const void *bytes, size_t len, struct buf *out)
{
    const unsigned char *at = bytes;
    v->out = out;
    while (len > 0) {
        int wrote = mbedtls_ssl_write(&v->ssl, at, len);
        MUST(wrote > 0);
        at += wrote;
        len -= (size_t)wrote;
    }
}

void fake_veil_finish(struct fake_veil *v, struct buf *out)
{
    v->out = out;
    if (v->shaken)
        mbedtls_ssl_close_notify(&v->ssl);
}

bool fake_veil_ended(const struct fake_veil *v)
{
    return v->ended;
}
