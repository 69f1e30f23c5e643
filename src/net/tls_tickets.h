/* What tickets for resuming sessions are made and read with, shared by all workers: a client that
 * comes back may come to any of them.
 *
 * A generation of certificates has tickets of its own, so that none outlives the certificate it was
 * given under. The key changes by itself, and lives in this memory only.
 *
 * Ownership: counted.
 * Threads: any. */
#ifndef HERMES_NET_TLS_TICKETS_H
#define HERMES_NET_TLS_TICKETS_H

#include "net/tls_library.h"

/* A session is worth resuming for so long. Whoever is cut off by a network comes back soon; whoever
 * steals the key from memory can read what TLS 1.2 sessions said that began so long ago. */
enum { TLS_TICKET_SECONDS = 6 * 3600 };

struct tls_tickets;

/* NULL: no memory, or the library refuses. */
struct tls_tickets *tls_tickets_new(void);
void tls_tickets_hold(struct tls_tickets *t);
void tls_tickets_drop(struct tls_tickets *t);

void tls_tickets_use(struct tls_tickets *t, mbedtls_ssl_config *config);

#endif
