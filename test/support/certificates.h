/* Certificates made while a test runs, so that none ever expires in the repository.
 *
 * Order: certificates_open, the others, certificates_close. Ownership: the caller's structs; the
 * files are in a directory that certificates_close removes. Threads: one at a time. */
#ifndef HERMES_SUPPORT_CERTIFICATES_H
#define HERMES_SUPPORT_CERTIFICATES_H

#include <stdbool.h>

#include <mbedtls/pk.h>

enum { PEM_MOST = 4096, CERTIFICATES_PATH = 128 };

struct certificates {
    char folder[64];
};

/* An authority. */
struct signer {
    mbedtls_pk_context key;
    char name[64];
    char pem[PEM_MOST];
};

struct certificate_wish {
    const char *name; /* "CN=localhost" */
    const char *dns;  /* alternative names; NULL: none */
    const char *mail;
    const char *ip; /* dotted */
    int from_days;  /* from now; 0 and 0: yesterday until tomorrow */
    int to_days;
    bool rsa; /* takes a while */
};

struct certificate {
    char pem[PEM_MOST];
    char key[PEM_MOST];
};

void certificates_open(struct certificates *c);
void certificates_close(struct certificates *c);

/* `by`: NULL: itself. */
void signer_make(struct signer *s, const char *name, const struct signer *by);
void signer_free(struct signer *s);
void certificate_make(
    struct certificate *made, const struct signer *by, const struct certificate_wish *wish);

/* Writes a file of those texts one behind another (NULL ends them), and returns its path, which is
 * good as long as `path` is. */
const char *certificates_write(
    const struct certificates *c, char path[CERTIFICATES_PATH], const char *name, ...);

#endif
