#include "net/tls_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mbedtls/pem.h>

/* The system's own bundle of authorities is 220 KiB. */
enum { FILE_MOST = 4 << 20 };

#define KINDS "RSA, or EC on P-256, P-384 or P-521"

static bool fails(struct tls_report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool fails(struct tls_report *report, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(report->error, sizeof report->error, format, arguments);
    va_end(arguments);
    return false;
}

static bool read_all(int fd, struct tls_pem *pem, size_t size)
{
    size_t at = 0;
    while (at < size) {
        ssize_t got = read(fd, pem->at + at, size - at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        if (got == 0)
            break;
        at += (size_t)got;
    }
    pem->len = at + 1;
    return true;
}

bool tls_pem_read(struct tls_pem *pem, const char *path, struct tls_report *report)
{
    struct stat about;
    bool good = false;
    *pem = (struct tls_pem){NULL, 0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &about) != 0) {
        fails(report, "%s: cannot be read: %s", path, strerror(errno));
    } else if (!S_ISREG(about.st_mode)) {
        fails(report, "%s: is not a file", path);
    } else if (about.st_size > FILE_MOST) {
        fails(report, "%s: is larger than 4 MiB", path);
    } else {
        size_t size = (size_t)about.st_size;
        pem->len = size + 1;
        pem->at = calloc(1, size + 1);
        if (!pem->at)
            fails(report, "%s: there is no memory for it", path);
        else if (!read_all(fd, pem, size))
            fails(report, "%s: cannot be read: %s", path, strerror(errno));
        else if (!strstr((const char *)pem->at, "-----BEGIN "))
            fails(report, "%s: is no PEM file (there is no line -----BEGIN ...)", path);
        else
            good = true;
    }
    if (!good)
        tls_pem_free(pem);
    if (fd >= 0)
        close(fd);
    return good;
}

void tls_pem_free(struct tls_pem *pem)
{
    if (pem->at)
        mbedtls_platform_zeroize(pem->at, pem->len);
    free(pem->at);
    *pem = (struct tls_pem){NULL, 0};
}

bool tls_read_certificates(
    mbedtls_x509_crt *into, const struct tls_pem *pem, const char *path, struct tls_report *report)
{
    if (!strstr((const char *)pem->at, "-----BEGIN CERTIFICATE-----"))
        return fails(report, "%s: there is no certificate in it", path);
    int code = mbedtls_x509_crt_parse(into, pem->at, pem->len);
    if (code == MBEDTLS_ERR_X509_ALLOC_FAILED)
        return fails(report, "%s: there is no memory for it", path);
    if (code > 0)
        return fails(report, "%s: %d of its certificates cannot be understood", path, code);
    if (code < 0)
        return fails(report,
            "%s: the certificate cannot be understood (mbedTLS -0x%04x): its key has to be " KINDS,
            path, (unsigned)-code);
    return true;
}

static bool same_name(const mbedtls_x509_buf *a, const mbedtls_x509_buf *b)
{
    return a->len == b->len && memcmp(a->p, b->p, a->len) == 0;
}

static bool check_order(mbedtls_x509_crt *chain, const char *path, struct tls_report *report)
{
    for (mbedtls_x509_crt *one = chain; one->next; one = one->next)
        if (!same_name(&one->issuer_raw, &one->next->subject_raw))
            return fails(report,
                "%s: the certificates are out of order: the server's own comes first, and behind "
                "each the one of its issuer",
                path);
    return true;
}

static bool check_key(mbedtls_x509_crt *chain, mbedtls_pk_context *key, const char *path,
    const char *key_path, struct tls_report *report)
{
    if (tls_check_pair(&chain->pk, key) == 0)
        return true;
    for (mbedtls_x509_crt *other = chain->next; other; other = other->next)
        if (tls_check_pair(&other->pk, key) == 0)
            return fails(report,
                "%s: the certificates are out of order: the server's own (that of the key in %s) "
                "is not the first",
                path, key_path);
    return fails(report, "%s: is not the key of the certificate in %s", key_path, path);
}

static bool read_key(
    mbedtls_pk_context *key, const struct tls_pem *pem, const char *path, struct tls_report *report)
{
    int code = tls_parse_key(key, pem->at, pem->len);
    if (code == 0)
        return true;
    if (code == MBEDTLS_ERR_PK_ALLOC_FAILED)
        return fails(report, "%s: there is no memory for it", path);
    if (code == MBEDTLS_ERR_PK_PASSWORD_REQUIRED || code == MBEDTLS_ERR_PK_PASSWORD_MISMATCH ||
        strstr((const char *)pem->at, "ENCRYPTED"))
        return fails(report,
            "%s: the key is encrypted; it has to be without a passphrase, readable by the server "
            "alone",
            path);
    if (!strstr((const char *)pem->at, "PRIVATE KEY-----"))
        return fails(report, "%s: there is no private key in it", path);
    return fails(
        report, "%s: the key cannot be understood (mbedTLS -0x%04x)", path, (unsigned)-code);
}

static void warn_of_times(mbedtls_x509_crt *chain, const char *path, struct tls_report *report)
{
    for (mbedtls_x509_crt *one = chain; one; one = one->next) {
        const mbedtls_x509_time *to = &one->valid_to;
        const mbedtls_x509_time *from = &one->valid_from;
        const char *which = one == chain ? "the certificate" : "a certificate of an issuer";
        if (mbedtls_x509_time_is_past(to)) {
            snprintf(report->warning, sizeof report->warning,
                "%s: %s has expired on %04d-%02d-%02d", path, which, to->year, to->mon, to->day);
            return;
        }
        if (mbedtls_x509_time_is_future(from)) {
            snprintf(report->warning, sizeof report->warning,
                "%s: %s is valid only from %04d-%02d-%02d on", path, which, from->year, from->mon,
                from->day);
            return;
        }
    }
}

/* The library reads more kinds of keys than handshakes are made with. */
static bool check_kind(const mbedtls_x509_crt *chain, const char *path, struct tls_report *report)
{
    const mbedtls_pk_context *key = &chain->pk;
    if (mbedtls_pk_get_type(key) == MBEDTLS_PK_RSA)
        return true;
    if (mbedtls_pk_can_do(key, MBEDTLS_PK_ECDSA)) {
        mbedtls_ecp_group_id curve = mbedtls_pk_ec(*key)->TLS_PRIVATE(grp).id;
        if (curve == MBEDTLS_ECP_DP_SECP256R1 || curve == MBEDTLS_ECP_DP_SECP384R1 ||
            curve == MBEDTLS_ECP_DP_SECP521R1)
            return true;
    }
    return fails(report, "%s: its key is of a kind that no client can use here: take " KINDS, path);
}

bool tls_read_pair(mbedtls_x509_crt *chain, mbedtls_pk_context *key, const struct tls_pem *pem,
    const struct tls_pem *key_pem, const char *path, const char *key_path,
    struct tls_report *report)
{
    if (!tls_read_certificates(chain, pem, path, report) ||
        !read_key(key, key_pem, key_path, report) ||
        !check_key(chain, key, path, key_path, report) || !check_kind(chain, path, report) ||
        !check_order(chain, path, report))
        return false;
    warn_of_times(chain, path, report);
    return true;
}
