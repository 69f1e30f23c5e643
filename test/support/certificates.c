#include "support/certificates.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <mbedtls/asn1.h>
#include <mbedtls/oid.h>
#include <mbedtls/rsa.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>

#define WORKS(call)                                                                                \
    do {                                                                                           \
        int code_ = (call);                                                                        \
        if (code_ != 0) {                                                                          \
            fprintf(stderr, "%s: -0x%04x\n", #call, (unsigned)-code_);                             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static int chance(void *unused, unsigned char *bytes, size_t len)
{
    (void)unused;
    return getrandom(bytes, len, 0) == (ssize_t)len ? 0 : -1;
}

void certificates_open(struct certificates *c)
{
    const char *top = getenv("TMPDIR");
    snprintf(c->folder, sizeof c->folder, "%s/hermes-tls.XXXXXX", top ? top : "/tmp");
    WORKS(mkdtemp(c->folder) == NULL);
}

void certificates_close(struct certificates *c)
{
    DIR *folder = opendir(c->folder);
    for (struct dirent *one = folder ? readdir(folder) : NULL; one; one = readdir(folder))
        unlinkat(dirfd(folder), one->d_name, 0);
    if (folder)
        closedir(folder);
    rmdir(c->folder);
}

static void key_make(mbedtls_pk_context *key, bool rsa)
{
    mbedtls_pk_init(key);
    WORKS(
        mbedtls_pk_setup(key, mbedtls_pk_info_from_type(rsa ? MBEDTLS_PK_RSA : MBEDTLS_PK_ECKEY)));
    if (rsa)
        WORKS(mbedtls_rsa_gen_key(mbedtls_pk_rsa(*key), chance, NULL, 2048, 65537));
    else
        WORKS(mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*key), chance, NULL));
}

static void time_text(char text[16], int days)
{
    time_t when = time(NULL) + days * 86400;
    struct tm tm;
    gmtime_r(&when, &tm);
    strftime(text, 16, "%Y%m%d%H%M%S", &tm);
}

/* One name of the extension, RFC 5280, 4.2.1.6. */
static size_t name_add(uint8_t *der, size_t at, int kind, const void *bytes, size_t len)
{
    der[at] = (uint8_t)(MBEDTLS_ASN1_CONTEXT_SPECIFIC | kind);
    der[at + 1] = (uint8_t)len;
    memcpy(der + at + 2, bytes, len);
    return at + 2 + len;
}

static void names_add(mbedtls_x509write_cert *certificate, const struct certificate_wish *wish)
{
    uint8_t der[128] = {MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE};
    size_t at = 2;
    uint8_t address[4];
    if (wish->mail)
        at = name_add(der, at, 1, wish->mail, strlen(wish->mail));
    if (wish->dns)
        at = name_add(der, at, 2, wish->dns, strlen(wish->dns));
    if (wish->ip && inet_pton(AF_INET, wish->ip, address) == 1)
        at = name_add(der, at, 7, address, sizeof address);
    if (at == 2)
        return;
    der[1] = (uint8_t)(at - 2);
    WORKS(mbedtls_x509write_crt_set_extension(certificate, MBEDTLS_OID_SUBJECT_ALT_NAME,
        MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME), 0, der, at));
}

static void serial_set(mbedtls_x509write_cert *certificate)
{
    uint8_t serial[8];
    chance(NULL, serial, sizeof serial);
    serial[0] = 1;
#if MBEDTLS_VERSION_NUMBER >= 0x03040000
    WORKS(mbedtls_x509write_crt_set_serial_raw(certificate, serial, sizeof serial));
#else
    mbedtls_mpi number;
    mbedtls_mpi_init(&number);
    WORKS(mbedtls_mpi_read_binary(&number, serial, sizeof serial));
    WORKS(mbedtls_x509write_crt_set_serial(certificate, &number));
    mbedtls_mpi_free(&number);
#endif
}

static void sign(char pem[PEM_MOST], mbedtls_pk_context *key, mbedtls_pk_context *by_key,
    const char *by_name, const struct certificate_wish *wish, bool authority)
{
    mbedtls_x509write_cert certificate;
    char from[16];
    char to[16];
    bool given = wish->from_days || wish->to_days;
    time_text(from, given ? wish->from_days : -1);
    time_text(to, given ? wish->to_days : 1);
    mbedtls_x509write_crt_init(&certificate);
    mbedtls_x509write_crt_set_version(&certificate, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&certificate, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&certificate, key);
    mbedtls_x509write_crt_set_issuer_key(&certificate, by_key);
    WORKS(mbedtls_x509write_crt_set_subject_name(&certificate, wish->name));
    WORKS(mbedtls_x509write_crt_set_issuer_name(&certificate, by_name));
    WORKS(mbedtls_x509write_crt_set_validity(&certificate, from, to));
    WORKS(mbedtls_x509write_crt_set_basic_constraints(&certificate, authority, -1));
    serial_set(&certificate);
    names_add(&certificate, wish);
    WORKS(mbedtls_x509write_crt_pem(&certificate, (unsigned char *)pem, PEM_MOST, chance, NULL));
    mbedtls_x509write_crt_free(&certificate);
}

void signer_make(struct signer *s, const char *name, const struct signer *by)
{
    union {
        const mbedtls_pk_context *in;
        mbedtls_pk_context *out;
    } key = {by ? &by->key : &s->key};
    struct certificate_wish wish = {.name = name, .from_days = -2, .to_days = 2};
    key_make(&s->key, false);
    snprintf(s->name, sizeof s->name, "%s", name);
    sign(s->pem, &s->key, key.out, by ? by->name : name, &wish, true);
}

void signer_free(struct signer *s)
{
    mbedtls_pk_free(&s->key);
}

void certificate_make(
    struct certificate *made, const struct signer *by, const struct certificate_wish *wish)
{
    mbedtls_pk_context key;
    union {
        const mbedtls_pk_context *in;
        mbedtls_pk_context *out;
    } signer = {&by->key};
    key_make(&key, wish->rsa);
    sign(made->pem, &key, signer.out, by->name, wish, false);
    WORKS(mbedtls_pk_write_key_pem(&key, (unsigned char *)made->key, PEM_MOST));
    mbedtls_pk_free(&key);
}

const char *certificates_write(
    const struct certificates *c, char path[CERTIFICATES_PATH], const char *name, ...)
{
    va_list texts;
    snprintf(path, CERTIFICATES_PATH, "%s/%s", c->folder, name);
    FILE *file = fopen(path, "w");
    WORKS(file == NULL);
    va_start(texts, name);
    for (const char *text = va_arg(texts, const char *); text; text = va_arg(texts, const char *))
        fputs(text, file);
    va_end(texts);
    WORKS(fclose(file));
    return path;
}
