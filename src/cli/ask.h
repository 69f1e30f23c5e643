/* One HTTP request, plain or through TLS, within a time.
 *
 * Order: filled in, ask_to for one address after another until it says true. */
#ifndef HERMES_CLI_ASK_H
#define HERMES_CLI_ASK_H

#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hermes/client.h"
#include "net/tls_client.h"

struct ask {
    struct hermes_url url;
    const char *path;
    struct tls_trust *trust; /* NULL: plain */
    uint64_t deadline;       /* by clock_ms */
    char answer[512];        /* its beginning, at least the first line if there is one */
    size_t len;
    char why[200]; /* there is no answer */
    enum tls_client_problem problem;
};

bool ask_to(struct ask *a, const struct addrinfo *to);

#endif
