/* Listening sockets. */
#ifndef HERMES_NET_LISTEN_H
#define HERMES_NET_LISTEN_H

#include <stdbool.h>
#include <stddef.h>

struct listen_at {
    const char *host;         /* empty: all of this machine, IPv4 and IPv6 on one socket where the
                               * system has IPv6 */
    const char *host_setting; /* what the person who chose it would have to change */
    const char *port_setting;
    int backlog;
    /* Sockets that listen already, as a service manager hands them over: where there are any, these
     * are it, and nothing else of the above is looked at. Duplicated: whoever gave them closes
     * them, however it went. */
    const struct listen_given *given;
};

enum { LISTEN_GIVEN_MAX = 8 };

struct listen_given {
    int fds[LISTEN_GIVEN_MAX];
    int count;
};

/* Whether it is a socket for TCP that listens. */
bool listen_is_good(int fd);

/* Binds to every address that the host stands for, and listens. Up to `most` descriptors into
 * `fds`; all on one port, which is stored in `*port` (0: any free one). Returns how many, or -1
 * with one sentence for a person in `error`. */
int listen_open(
    const struct listen_at *at, int *port, int *fds, int most, char *error, size_t error_size);

#endif
