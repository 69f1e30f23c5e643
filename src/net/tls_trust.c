#include "net/tls_trust.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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
    const char *key_path = paths->key ? paths->key : paths->certificate;
    struct tls_pem pem;
    struct tls_pem key = {NULL, 0};
    bool good = tls_pem_read(&pem, paths->certificate, report) &&
                tls_pem_read(&key, key_path, report) &&
                tls_read_pair(&t->chain, &t->key, &pem, &key, paths->certificate, key_path, report);
    tls_pem_free(&pem);
    tls_pem_free(&key);
    return good;
}

static bool trust_fill(
    struct tls_trust *t, const struct tls_client_paths *paths, struct tls_report *report)
{
    if ((!paths->insecure && !trust_ca(t, paths->ca, report)) ||
        (paths->certificate && !trust_pair(t, paths, report)))
        return false;
    int code = tls_common_config(&t->ssl, MBEDTLS_SSL_IS_CLIENT);
    if (code == 0 && paths->certificate)
        code = mbedtls_ssl_conf_own_cert(&t->ssl, &t->chain, &t->key);
    mbedtls_ssl_conf_ca_chain(&t->ssl, &t->ca, NULL);
    mbedtls_ssl_conf_authmode(
        &t->ssl, paths->insecure ? MBEDTLS_SSL_VERIFY_NONE : MBEDTLS_SSL_VERIFY_REQUIRED);
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
    tls_lender_fini(&t->lender);
    mbedtls_ssl_config_free(&t->ssl);
    mbedtls_x509_crt_free(&t->ca);
    mbedtls_x509_crt_free(&t->chain);
    mbedtls_pk_free(&t->key);
    buf_fini(&t->spare_in);
    buf_fini(&t->spare_out);
    free(t);
}
