/* TLS of the commands that connect to a server: options and the environment, the server's own too.
 */
#ifndef HERMES_CLI_TLS_H
#define HERMES_CLI_TLS_H

#include <stdbool.h>

/* Paths; NULL: not given. */
struct cli_tls {
    const char *ca;
    const char *certificate;
    const char *key;
    bool insecure;
};

/* What was not given is as HERMES_CA, HERMES_CERT and HERMES_KEY say. */
void cli_tls_default(struct cli_tls *tls);

/* Whether a server with this environment has TLS on WS_PORT. */
bool cli_tls_on_port(void);

#endif
