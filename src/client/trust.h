/* Whom the clients of a group believe, and who they say they are: the files of the TLS options,
 * read once for all clients that name the same.
 *
 * Ownership: the group's; a client holds what it uses. What nobody uses stays for the next one.
 * Memory: some 400 KiB where it is the system's authorities. */
#ifndef HERMES_CLIENT_TRUST_H
#define HERMES_CLIENT_TRUST_H

#include "net/tls_client.h"

struct hermes_client_group;
struct trust;

/* NULL: the group's `problem` says why. */
struct trust *trust_find(struct hermes_client_group *g, const struct tls_client_paths *paths);

/* Before each connection: what stands in place of `t` when the files have changed; `t` itself when
 * they have not, or are no good now. */
struct trust *trust_again(struct hermes_client_group *g, struct trust *t);

struct tls_trust *trust_tls(const struct trust *t);

/* NULL is ignored. */
void trust_drop(struct hermes_client_group *g, struct trust *t);

void trust_fini(struct hermes_client_group *g);

#endif
