/* WS_REDIS_URL: one address or several, with commas between.
 *
 *   redis://[user:password@]host[:port][/db]      rediss:// the same through TLS
 *
 * User and password are percent-decoded, so that they may hold any character; `redis://:secret@h`
 * is a password alone. IPv6 addresses stand in brackets. */
#ifndef HERMES_CLUSTER_REDIS_URL_H
#define HERMES_CLUSTER_REDIS_URL_H

#include <stdbool.h>
#include <stddef.h>

struct redis_url {
    bool tls;
    char *user;     /* NULL: none */
    char *password; /* NULL: none */
    char *host;
    char port[6];
    unsigned db;
};

enum { REDIS_URLS_MAX = 64 };

/* Reads all of them; their number, or 0 with one sentence for a person in `error`, which never
 * holds any of a password. The list is to be given to redis_urls_free. */
size_t redis_urls_read(const char *text, struct redis_url **list, char *error, size_t error_size);

/* Wipes the passwords. NULL is ignored. */
void redis_urls_free(struct redis_url *list, size_t count);

#endif
