#include "net/tls_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mbedtls/sha256.h>

#include "net/tls_state.h"

#if !TLS_LIBRARY_3
#define mbedtls_sha256_starts mbedtls_sha256_starts_ret
#define mbedtls_sha256_update mbedtls_sha256_update_ret
#define mbedtls_sha256_finish mbedtls_sha256_finish_ret
#endif

struct files {
    struct tls_pem certificate;
    struct tls_pem key;
    struct tls_pem client_ca;
};

static void files_fini(struct files *f)
{
    tls_pem_free(&f->certificate);
    tls_pem_free(&f->key);
    tls_pem_free(&f->client_ca);
}

static bool files_read(struct files *f, const struct tls_paths *paths, struct tls_report *report)
{
    return tls_pem_read(&f->certificate, paths->certificate, report) &&
           tls_pem_read(&f->key, paths->key, report) &&
           (!paths->client_ca || tls_pem_read(&f->client_ca, paths->client_ca, report));
}

static int add_file(mbedtls_sha256_context *digest, const struct tls_pem *pem)
{
    uint64_t len = pem->len;
    int code = mbedtls_sha256_update(digest, (const unsigned char *)&len, sizeof len);
    return code == 0 && pem->at ? mbedtls_sha256_update(digest, pem->at, pem->len) : code;
}

static int files_print(const struct files *f, uint8_t print[TLS_PRINT])
{
    mbedtls_sha256_context digest;
    mbedtls_sha256_init(&digest);
    int code = mbedtls_sha256_starts(&digest, 0);
    if (code == 0)
        code = add_file(&digest, &f->certificate);
    if (code == 0)
        code = add_file(&digest, &f->key);
    if (code == 0)
        code = add_file(&digest, &f->client_ca);
    if (code == 0)
        code = mbedtls_sha256_finish(&digest, print);
    mbedtls_sha256_free(&digest);
    return code;
}

static bool config_fill(struct tls_config *c, const struct files *f, const struct tls_paths *paths,
    struct tls_report *report)
{
    if (!tls_read_pair(
            &c->chain, &c->key, &f->certificate, &f->key, paths->certificate, paths->key, report))
        return false;
    if (paths->client_ca &&
        !tls_read_certificates(&c->client_ca, &f->client_ca, paths->client_ca, report))
        return false;
    int code = tls_common_config(&c->ssl, MBEDTLS_SSL_IS_SERVER);
    if (code == 0)
        code = mbedtls_ssl_conf_own_cert(&c->ssl, &c->chain, &c->key);
    if (code == 0)
        code = files_print(f, c->print);
    if (code != 0) {
        snprintf(report->error, sizeof report->error, "%s: mbedTLS cannot use it (-0x%04x)",
            paths->certificate, (unsigned)-code);
        return false;
    }
    if (paths->client_ca) {
        mbedtls_ssl_conf_ca_chain(&c->ssl, &c->client_ca, NULL);
        mbedtls_ssl_conf_authmode(&c->ssl, MBEDTLS_SSL_VERIFY_REQUIRED);
    }
    /* Always set: with none at all the library may not be asked for what it has not. */
    if (c->tickets)
        tls_tickets_use(c->tickets, &c->ssl);
#if defined(MBEDTLS_SSL_PROTO_TLS1_3)
    else
        mbedtls_ssl_conf_new_session_tickets(&c->ssl, 0);
#endif
    return true;
}

static struct tls_config *config_new(const struct files *f, const struct tls_paths *paths,
    struct tls_tickets *tickets, struct tls_report *report)
{
    struct tls_config *c = calloc(1, sizeof *c);
    if (!c) {
        snprintf(report->error, sizeof report->error, "%s: there is no memory for it",
            paths->certificate);
        return NULL;
    }
    c->users = 1;
    mbedtls_ssl_config_init(&c->ssl);
    mbedtls_x509_crt_init(&c->chain);
    mbedtls_x509_crt_init(&c->client_ca);
    mbedtls_pk_init(&c->key);
    if (tickets)
        tls_tickets_hold(tickets);
    c->tickets = tickets;
    if (config_fill(c, f, paths, report))
        return c;
    tls_config_drop(c);
    return NULL;
}

bool tls_config_load(const struct tls_paths *paths, struct tls_config **configs, unsigned count,
    struct tls_report *report)
{
    struct files files = {0};
    struct tls_tickets *tickets = NULL;
    unsigned made = 0;
    *report = (struct tls_report){{0}, {0}};
    if (!tls_library_start()) {
        snprintf(report->error, sizeof report->error, "mbedTLS does not start");
    } else if (files_read(&files, paths, report)) {
        /* Whoever must show a certificate shows it every time: it may be refused by now, and a
         * ticket of TLS 1.3 does not tell whose it is. */
        if (!paths->client_ca)
            tickets = tls_tickets_new();
        if (!paths->client_ca && !tickets)
            snprintf(report->error, sizeof report->error, "%s: there is no memory for it",
                paths->certificate);
        else
            while (made < count &&
                   (configs[made] = config_new(&files, paths, tickets, report)) != NULL)
                made++;
    }
    files_fini(&files);
    tls_tickets_drop(tickets);
    if (made == count && !report->error[0])
        return true;
    while (made > 0)
        tls_config_drop(configs[--made]);
    return false;
}

bool tls_config_same(const struct tls_config *a, const struct tls_config *b)
{
    return memcmp(a->print, b->print, TLS_PRINT) == 0;
}

/* Seconds since 1970, by the calendar alone. */
static int64_t seconds(const mbedtls_x509_time *t)
{
    int64_t year = t->year - (t->mon <= 2);
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t day = (153 * (t->mon + (t->mon > 2 ? -3 : 9)) + 2) / 5 + t->day - 1;
    int64_t days = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + day - 719468;
    return ((days * 24 + t->hour) * 60 + t->min) * 60 + t->sec;
}

void tls_config_about(const struct tls_config *config, struct tls_about *about)
{
    *about = (struct tls_about){{0}, INT64_MAX};
    mbedtls_x509_dn_gets(about->subject, sizeof about->subject, &config->chain.subject);
    for (const mbedtls_x509_crt *one = &config->chain; one; one = one->next) {
        int64_t to = seconds(&one->valid_to);
        if (to < about->expires)
            about->expires = to;
    }
}

void tls_config_hold(struct tls_config *config)
{
    config->users++;
}

void tls_config_drop(struct tls_config *config)
{
    if (!config || --config->users > 0)
        return;
    tls_lender_fini(&config->lender);
    mbedtls_ssl_config_free(&config->ssl);
    mbedtls_x509_crt_free(&config->chain);
    mbedtls_x509_crt_free(&config->client_ca);
    mbedtls_pk_free(&config->key);
    tls_tickets_drop(config->tickets);
    mbedtls_platform_zeroize(config, sizeof *config);
    free(config);
}
