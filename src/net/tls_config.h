/* What a worker's TLS sessions are made with: the certificate, its key, who may come.
 *
 * Every worker has one of its own, because the library may not be used with one key by two threads.
 * Those loaded together are a generation and share their tickets.
 *
 * Order: tls_config_load for all workers at once, on any thread; give each worker its own (by mail,
 *   or before it starts), which drops the one before. Sessions hold the one they began with, so
 *   those of an older generation go on.
 * Ownership: counted; whoever gets it from tls_config_load holds it.
 * Memory: 33 KiB for each of a few connections, see net/tls_lend.h; the sessions' own aside.
 * Threads: the worker's, once it has it. Only tls_config_load, tls_config_same and
 *   tls_config_about do not change it. */
#ifndef HERMES_NET_TLS_CONFIG_H
#define HERMES_NET_TLS_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "net/tls_files.h"

/* Paths. */
struct tls_paths {
    const char *certificate; /* PEM: the server's own, then those of its issuers */
    const char *key;         /* PEM; may be the same file */
    const char *client_ca;   /* PEM; NULL: clients need no certificate */
};

struct tls_config;

/* Makes `count` configurations of one generation. False, with nothing made, when the files are not
 * good: the report's error says why in one line. When they are, its warning may still tell of a
 * certificate that has expired. */
bool tls_config_load(const struct tls_paths *paths, struct tls_config **configs, unsigned count,
    struct tls_report *report);

/* Made from the same bytes: a reload that changes nothing need not be made (tickets stay good). */
bool tls_config_same(const struct tls_config *a, const struct tls_config *b);

/* For the log: the certificate's subject, and until when (seconds since 1970) the first of the
 * chain expires. */
struct tls_about {
    char subject[256];
    int64_t expires;
};
void tls_config_about(const struct tls_config *config, struct tls_about *about);

void tls_config_hold(struct tls_config *config);
void tls_config_drop(struct tls_config *config);

#endif
