/* The certificate that TLS sessions are made with: loaded at the start, at a reload, and when its
 * files change.
 *
 * Order: tls_source_load before the workers start, tls_source_reload and tls_source_look as
 *   often as wanted, tls_source_fini.
 * Threads: tls_source_reload and tls_source_look on any.
 * Lock: RELOAD, so that two who read the same change are not in each other's way. */
#ifndef HERMES_SERVER_TLS_SOURCE_H
#define HERMES_SERVER_TLS_SOURCE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/logger.h"
#include "loop/lock.h"
#include "net/tls_config.h"
#include "session/tls_box.h"

enum { TLS_SOURCE_FILES = 3 };

struct tls_source {
    struct lock lock;
    char *paths[TLS_SOURCE_FILES]; /* certificate, key, client CA; NULL: none */
    unsigned workers;
    struct logger *logger;
    struct tls_box *box;
    void (*changed)(void *user); /* there is something new in the box; not yet logged */
    void *user;
    struct tls_config *current GUARDED_BY(lock);              /* to compare with */
    struct stat loaded[TLS_SOURCE_FILES] GUARDED_BY(lock);    /* as the files were then, */
    struct stat last_seen[TLS_SOURCE_FILES] GUARDED_BY(lock); /* and at the last look */
};

/* `key`, `client_ca`: may be empty. Nothing is loaded yet. False: no memory. */
bool tls_source_init(struct tls_source *c, const char *certificate, const char *key,
    const char *client_ca, unsigned workers, struct logger *logger);
void tls_source_fini(struct tls_source *c);

/* Puts them into the box, for each worker. False, and the report's error tells why. `changed` is
 * called when they are put there anew, on the thread that reloads. */
bool tls_source_load(struct tls_source *c, struct tls_box *box, struct tls_report *report);

/* Tells the log what was loaded. */
void tls_source_log(struct tls_source *c, const struct tls_report *report);

enum tls_source_news { TLS_SOURCE_SAME, TLS_SOURCE_NEW, TLS_SOURCE_BAD };

/* Reads the files anew. Logged, and of a bad one the report's error tells why. */
enum tls_source_news tls_source_reload(struct tls_source *c, struct tls_report *report);

/* To be called each second: does the same once the files have changed and then been at rest, so
 * that a certificate is not read whose key is still being written. */
enum tls_source_news tls_source_look(struct tls_source *c);

#endif
