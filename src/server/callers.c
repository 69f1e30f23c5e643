/* Who may connect and how, and whom proxies are believed to speak for: settings to what sessions
 * ask. */
#include <stdio.h>

#include "server/server.h"

enum { SHOWN = 200 }; /* of what is wrong */

static int refuse(struct hermes *h, const char *variable, struct text wrong, const char *advice)
{
    int len = wrong.len < SHOWN ? (int)wrong.len : SHOWN;
    snprintf(h->error, sizeof h->error, "%s: \"%.*s\" is %s", variable, len, wrong.at, advice);
    return HERMES_INVALID;
}

static int no_memory(struct hermes *h)
{
    snprintf(h->error, sizeof h->error, "out of memory");
    return HERMES_NO_MEMORY;
}

int hermes_read_callers(struct hermes *h)
{
    struct workshop *shop = &h->shop;
    struct text wrong = {0};
    shop->proxy_head = hermes_number(h, SETTING_proxy_protocol) == 1;
    switch (origins_parse(&shop->origins, hermes_text(h, SETTING_allowed_origins), &wrong)) {
    case ORIGINS_INVALID:
        return refuse(h, "WS_ALLOWED_ORIGINS", wrong,
            "no origin: give such as https://example.com, https://*.example.com or null, with "
            "commas between, or * for all");
    case ORIGINS_NO_MEMORY:
        return no_memory(h);
    case ORIGINS_OK:
        break;
    }
    enum cidr_fault fault =
        cidr_parse(&shop->trusted, hermes_text(h, SETTING_trusted_proxies), &wrong);
    if (fault == CIDR_OK)
        return HERMES_OK;
    origins_fini(&shop->origins);
    if (fault == CIDR_NO_MEMORY)
        return no_memory(h);
    return refuse(h, "WS_TRUSTED_PROXIES", wrong,
        "no address or network: give such as 10.1.2.3, 10.0.0.0/8 or ::1, with commas between");
}

int hermes_check_tls(struct hermes *h)
{
    static const struct {
        enum setting setting;
        const char *variable;
    } others[] = {{SETTING_tls_key, "WS_TLS_KEY"}, {SETTING_tls_client_ca, "WS_TLS_CLIENT_CA"}};
    const char *lonely =
        hermes_number(h, SETTING_tls_port) != PORT_OFF || h->given[LISTENER_TLS].count > 0
            ? "WS_TLS_PORT"
            : NULL;
    h->tls = *hermes_text(h, SETTING_tls_cert) != '\0';
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (*hermes_text(h, others[i].setting))
            lonely = others[i].variable;
    uint64_t port = hermes_number(h, SETTING_tls_port);
    if (h->tls && port > 0 && port == hermes_number(h, SETTING_port)) {
        snprintf(h->error, sizeof h->error,
            "port %d cannot be both, WS_PORT and WS_TLS_PORT: give two, or leave the other off, "
            "and "
            "WS_PORT is for TLS",
            (int)port);
        return HERMES_INVALID;
    }
    if (h->tls || !lonely)
        return HERMES_OK;
    snprintf(h->error, sizeof h->error,
        "%s is set, but WS_TLS_CERT is not: give the file with the server's certificate, too",
        lonely);
    return HERMES_INVALID;
}

void hermes_forget_callers(struct hermes *h)
{
    origins_fini(&h->shop.origins);
    cidr_fini(&h->shop.trusted);
}
