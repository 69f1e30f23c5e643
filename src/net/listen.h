/* Listening sockets. */
#ifndef HERMES_NET_LISTEN_H
#define HERMES_NET_LISTEN_H

#include <stddef.h>

/* Binds to every address that `host` stands for (empty: all of this machine, IPv4 and IPv6 on one
 * socket where the system has IPv6) and listens. Up to `most` descriptors into `fds`; all on one
 * port, which is stored in `*port` (0: any free one). Returns how many, or -1 with one sentence for
 * a person in `error`. */
int listen_open(
    int *fds, int most, const char *host, int *port, int backlog, char *error, size_t error_size);

#endif
