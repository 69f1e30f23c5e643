#include "cli/tls.h"

#include <stdlib.h>
#include <string.h>

/* NULL when it is empty, too. */
static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

void cli_tls_default(struct cli_tls *tls)
{
    if (!tls->ca)
        tls->ca = environment("HERMES_CA");
    /* A key goes with its certificate. */
    if (tls->certificate)
        return;
    tls->certificate = environment("HERMES_CERT");
    if (tls->certificate && !tls->key)
        tls->key = environment("HERMES_KEY");
}

bool cli_tls_on_port(void)
{
    const char *port = environment("WS_TLS_PORT");
    return environment("WS_TLS_CERT") && (!port || strcmp(port, "off") == 0);
}
