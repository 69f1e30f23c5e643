#include "net/tls_client.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "net/tls_library.h"

enum { NAME_ADDRESS = 7, PROBLEM = 160 };

struct tls_trust {
    mbedtls_ssl_config ssl;
    mbedtls_x509_crt ca;
    mbedtls_x509_crt chain;
    mbedtls_pk_context key;
    unsigned users;
};

struct tls_client {
    mbedtls_ssl_context ssl;
    struct tls_trust *trust;
    struct buf in;
    size_t in_at;
    struct buf out;
    size_t out_at;
    uint8_t address[16]; /* what the certificate has to be for, */
    size_t address_len;  /* when that is an address and no name */
    bool in_ended;
    bool broken;
    char problem[PROBLEM];
};

/* --- trust ------------------------------------------------------------------------------------ */

/* Where Debian and Alpine, Fedora, and others keep the bundle. */
static const char *system_bundle(void)
{
    static const char *const bundles[] = {
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
    };
    for (size_t i = 0; i < sizeof bundles / sizeof bundles[0]; i++)
        if (access(bundles[i], R_OK) == 0)
            return bundles[i];
    return bundles[0];
}

static bool trust_ca(struct tls_trust *t, const char *path, struct tls_report *report)
{
    struct tls_pem pem;
    bool system = !path;
    if (system)
        path = system_bundle();
    if (!tls_pem_read(&pem, path, report))
        return false;
    /* Some of the many that the system believes may be of a kind that the library does not know. */
    bool good = system ? mbedtls_x509_crt_parse(&t->ca, pem.at, pem.len) >= 0
                       : tls_read_certificates(&t->ca, &pem, path, report);
    if (system && !good)
        snprintf(report->error, sizeof report->error, "%s: cannot be understood", path);
    tls_pem_free(&pem);
    return good;
}

static bool trust_pair(
    struct tls_trust *t, const struct tls_client_paths *paths, struct tls_report *report)
{
    struct tls_pem pem;
    struct tls_pem key = {NULL, 0};
    bool good =
        tls_pem_read(&pem, paths->certificate, report) && tls_pem_read(&key, paths->key, report) &&
        tls_read_pair(&t->chain, &t->key, &pem, &key, paths->certificate, paths->key, report);
    tls_pem_free(&pem);
    tls_pem_free(&key);
    return good;
}

static bool trust_fill(
    struct tls_trust *t, const struct tls_client_paths *paths, struct tls_report *report)
{
    if (!trust_ca(t, paths->ca, report) || (paths->certificate && !trust_pair(t, paths, report)))
        return false;
    int code = tls_common_config(&t->ssl, MBEDTLS_SSL_IS_CLIENT);
    if (code == 0 && paths->certificate)
        code = mbedtls_ssl_conf_own_cert(&t->ssl, &t->chain, &t->key);
    mbedtls_ssl_conf_ca_chain(&t->ssl, &t->ca, NULL);
    mbedtls_ssl_conf_authmode(&t->ssl, MBEDTLS_SSL_VERIFY_REQUIRED);
    if (code != 0)
        snprintf(report->error, sizeof report->error, "mbedTLS does not start (-0x%04x)",
            (unsigned)-code);
    return code == 0;
}

struct tls_trust *tls_trust_load(const struct tls_client_paths *paths, struct tls_report *report)
{
    *report = (struct tls_report){{0}, {0}};
    struct tls_trust *t = tls_library_start() ? calloc(1, sizeof *t) : NULL;
    if (!t) {
        snprintf(report->error, sizeof report->error, "mbedTLS does not start");
        return NULL;
    }
    t->users = 1;
    mbedtls_ssl_config_init(&t->ssl);
    mbedtls_x509_crt_init(&t->ca);
    mbedtls_x509_crt_init(&t->chain);
    mbedtls_pk_init(&t->key);
    if (trust_fill(t, paths, report))
        return t;
    tls_trust_drop(t);
    return NULL;
}

void tls_trust_drop(struct tls_trust *t)
{
    if (!t || --t->users > 0)
        return;
    mbedtls_ssl_config_free(&t->ssl);
    mbedtls_x509_crt_free(&t->ca);
    mbedtls_x509_crt_free(&t->chain);
    mbedtls_pk_free(&t->key);
    free(t);
}

/* --- bytes, as the library sees them ---------------------------------------------------------- */

static int receive(void *of, unsigned char *bytes, size_t len)
{
    struct tls_client *c = of;
    size_t left = c->in.len - c->in_at;
    if (left == 0)
        return c->in_ended ? 0 : MBEDTLS_ERR_SSL_WANT_READ;
    size_t part = len < left ? len : left;
    memcpy(bytes, c->in.data + c->in_at, part);
    c->in_at += part;
    if (c->in_at == c->in.len)
        c->in_at = c->in.len = 0;
    return (int)part;
}

static int transmit(void *of, const unsigned char *bytes, size_t len)
{
    struct tls_client *c = of;
    buf_append(&c->out, bytes, len);
    return c->out.failed ? MBEDTLS_ERR_SSL_ALLOC_FAILED : (int)len;
}

/* --- the connection --------------------------------------------------------------------------- */

/* The library checks names only (2.28), or tells the server an address as if it were one (3.6). */
static int check_address(void *of, mbedtls_x509_crt *certificate, int depth, uint32_t *flags)
{
    const struct tls_client *c = of;
    if (depth != 0)
        return 0;
    for (const mbedtls_x509_sequence *one = &certificate->subject_alt_names; one; one = one->next)
        if ((one->buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK) == NAME_ADDRESS &&
            one->buf.len == c->address_len && memcmp(one->buf.p, c->address, c->address_len) == 0)
            return 0;
    *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
    return 0;
}

static bool set_host(struct tls_client *c, const char *host)
{
    if (inet_pton(AF_INET, host, c->address) == 1)
        c->address_len = 4;
    else if (inet_pton(AF_INET6, host, c->address) == 1)
        c->address_len = 16;
    if (c->address_len == 0)
        return mbedtls_ssl_set_hostname(&c->ssl, host) == 0;
    mbedtls_ssl_set_verify(&c->ssl, check_address, c);
    return mbedtls_ssl_set_hostname(&c->ssl, NULL) == 0;
}

struct tls_client *tls_client_new(struct tls_trust *trust, const char *host)
{
    struct tls_client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->trust = trust;
    trust->users++;
    mbedtls_ssl_init(&c->ssl);
    if (mbedtls_ssl_setup(&c->ssl, &trust->ssl) != 0 || !set_host(c, host)) {
        tls_client_free(c);
        return NULL;
    }
    mbedtls_ssl_set_bio(&c->ssl, c, transmit, receive, NULL);
    return c;
}

void tls_client_free(struct tls_client *c)
{
    if (!c)
        return;
    mbedtls_ssl_free(&c->ssl);
    buf_fini(&c->in);
    buf_fini(&c->out);
    tls_trust_drop(c->trust);
    free(c);
}

bool tls_client_feed(struct tls_client *c, const void *bytes, size_t len)
{
    if (len == 0)
        c->in_ended = true;
    else
        buf_append(&c->in, bytes, len);
    return !c->in.failed;
}

static const char *distrust(uint32_t flags)
{
    if (flags & MBEDTLS_X509_BADCERT_CN_MISMATCH)
        return "the server's certificate is for another host";
    if (flags & MBEDTLS_X509_BADCERT_EXPIRED)
        return "the server's certificate has expired";
    if (flags & MBEDTLS_X509_BADCERT_FUTURE)
        return "the server's certificate is not valid yet";
    if (flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED)
        return "the server's certificate is not from an authority that is trusted here";
    return "the server's certificate is not good";
}

static int broken(struct tls_client *c, int code)
{
    if (c->broken)
        return TLS_CLIENT_BROKEN;
    c->broken = true;
    switch (code) {
    case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
        snprintf(c->problem, PROBLEM, "%s", distrust(mbedtls_ssl_get_verify_result(&c->ssl)));
        break;
    case MBEDTLS_ERR_SSL_CONN_EOF:
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
        snprintf(c->problem, PROBLEM, "the server closed the connection during the TLS handshake");
        break;
    case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
        snprintf(c->problem, PROBLEM, "the server refused the TLS handshake");
        break;
    case MBEDTLS_ERR_SSL_INVALID_RECORD:
        snprintf(c->problem, PROBLEM, "the server does not speak TLS there");
        break;
    default:
        snprintf(c->problem, PROBLEM, "TLS failed (mbedTLS -0x%04x)", (unsigned)-code);
    }
    return TLS_CLIENT_BROKEN;
}

int tls_client_shake(struct tls_client *c)
{
    if (c->broken)
        return TLS_CLIENT_BROKEN;
    int code = mbedtls_ssl_handshake(&c->ssl);
    if (code == 0)
        return 0;
    return code == MBEDTLS_ERR_SSL_WANT_READ ? TLS_CLIENT_AGAIN : broken(c, code);
}

ssize_t tls_client_read(struct tls_client *c, void *bytes, size_t len)
{
    while (!c->broken) {
        int got = mbedtls_ssl_read(&c->ssl, bytes, len);
        if (got > 0)
            return got;
#if TLS_LIBRARY_3
        if (got == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
            continue;
#endif
        if (got == 0 || got == MBEDTLS_ERR_SSL_CONN_EOF || got == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
            return 0;
        if (got != MBEDTLS_ERR_SSL_WANT_READ)
            return broken(c, got);
        if (c->in.len == 0 && !c->in_ended)
            return TLS_CLIENT_AGAIN;
    }
    return TLS_CLIENT_BROKEN;
}

bool tls_client_write(struct tls_client *c, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    while (len > 0 && !c->broken) {
        int wrote = mbedtls_ssl_write(&c->ssl, at, len);
        if (wrote <= 0) {
            broken(c, wrote);
            break;
        }
        at += wrote;
        len -= (size_t)wrote;
    }
    return !c->broken;
}

void tls_client_finish(struct tls_client *c)
{
    if (!c->broken)
        mbedtls_ssl_close_notify(&c->ssl);
}

struct text tls_client_output(const struct tls_client *c)
{
    return (struct text){c->out.data + c->out_at, c->out.len - c->out_at};
}

void tls_client_sent(struct tls_client *c, size_t len)
{
    c->out_at += len;
    if (c->out_at == c->out.len)
        c->out_at = c->out.len = 0;
}

const char *tls_client_problem(const struct tls_client *c)
{
    return c->problem;
}
