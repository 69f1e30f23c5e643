/* Certificates and keys as PEM files, read and looked over for what people get wrong. */
#ifndef HERMES_NET_TLS_FILES_H
#define HERMES_NET_TLS_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "net/tls_library.h"

/* What is to be told: each one line that names the file, or empty. Never a byte of a key. */
struct tls_report {
    char error[512];
    char warning[512];
};

/* A file's bytes, with a 0 behind them that `len` counts, as the library wants it for PEM. */
struct tls_pem {
    unsigned char *at;
    size_t len;
};

/* False: the report says why. */
bool tls_pem_read(struct tls_pem *pem, const char *path, struct tls_report *report);

/* Wipes it. */
void tls_pem_free(struct tls_pem *pem);

/* All certificates of the file, into an initialised one. False: the report says why. */
bool tls_read_certificates(
    mbedtls_x509_crt *into, const struct tls_pem *pem, const char *path, struct tls_report *report);

/* Reads the key, and sees that it is that of the chain's first certificate and each is issued by
 * the next. Warns of times that are over or yet to come. */
bool tls_read_pair(mbedtls_x509_crt *chain, mbedtls_pk_context *key, const struct tls_pem *pem,
    const struct tls_pem *key_pem, const char *path, const char *key_path,
    struct tls_report *report);

#endif
