/* The certificate that TLS sessions are made with: loaded at the start, at a reload, and when its
 * files change.
 *
 * Order: certificates_load before the workers start, certificates_reload and certificates_look as
 *   often as wanted, certificates_fini.
 * Threads: certificates_reload and certificates_look on any.
 * Lock: RELOAD, so that two who read the same change are not in each other's way. */
#ifndef HERMES_SERVER_CERTIFICATES_H
#define HERMES_SERVER_CERTIFICATES_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/logger.h"
#include "loop/lock.h"
#include "net/tls_config.h"
#include "session/tls_box.h"

enum { CERTIFICATE_FILES = 3 };

struct certificates {
    struct lock lock;
    char *paths[CERTIFICATE_FILES]; /* certificate, key, client CA; NULL: none */
    unsigned workers;
    struct logger *logger;
    struct tls_box *box;
    struct tls_config *current GUARDED_BY(lock);               /* to compare with */
    struct stat loaded[CERTIFICATE_FILES] GUARDED_BY(lock);    /* as the files were then, */
    struct stat last_seen[CERTIFICATE_FILES] GUARDED_BY(lock); /* and at the last look */
};

/* `key`, `client_ca`: may be empty. Nothing is loaded yet. False: no memory. */
bool certificates_init(struct certificates *c, const char *certificate, const char *key,
    const char *client_ca, unsigned workers, struct logger *logger);
void certificates_fini(struct certificates *c);

/* Puts them into the box, for each worker. False, and the report's error tells why. */
bool certificates_load(struct certificates *c, struct tls_box *box, struct tls_report *report);

/* Tells the log what was loaded. */
void certificates_log(struct certificates *c, const struct tls_report *report);

enum certificates_news { CERTIFICATES_SAME, CERTIFICATES_NEW, CERTIFICATES_BAD };

/* Reads the files anew. Logged, and of a bad one the report's error tells why. */
enum certificates_news certificates_reload(struct certificates *c, struct tls_report *report);

/* To be called each second: does the same once the files have changed and then been at rest, so
 * that a certificate is not read whose key is still being written. */
enum certificates_news certificates_look(struct certificates *c);

#endif
