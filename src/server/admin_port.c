/* The admin listener: from the settings to one that may run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/load.h"
#include "base/wipe.h"
#include "server/server.h"

/* BODY_MORE: what a request may have besides the largest message. */
enum { DEFAULT_PORT = 8090, TOKEN_MAX = 1024, TOKEN_LONG = 16, BODY_MORE = 64 * 1024 };

static int no_memory(struct hermes *h)
{
    snprintf(h->error, sizeof h->error, "out of memory");
    return HERMES_NO_MEMORY;
}

/* --- the token -------------------------------------------------------------------------------- */

static struct text given_token(const struct hermes *h)
{
    return (struct text){(const char *)h->admin_token.at, h->admin_token.len};
}

/* As a header can carry it. */
static int check_token(struct hermes *h, const char *name)
{
    struct secret *token = &h->admin_token;
    while (
        token->len > 0 && (token->at[token->len - 1] == '\n' || token->at[token->len - 1] == '\r'))
        token->at[--token->len] = '\0';
    bool good = token->len > 0 && token->len <= TOKEN_MAX;
    for (size_t i = 0; i < token->len; i++)
        good &= token->at[i] > ' ' && token->at[i] < 0x7f;
    if (good)
        return HERMES_OK;
    snprintf(h->error, sizeof h->error,
        "%s: is no token: give 1 to %d characters of ASCII without spaces", name, TOKEN_MAX);
    return HERMES_INVALID;
}

/* From the setting, where it does not stay. */
static int take_token(struct hermes *h)
{
    const char *given = hermes_text(h, SETTING_admin_token);
    secret_fini(&h->admin_token);
    if (!secret_init(&h->admin_token, strlen(given)))
        return no_memory(h);
    memcpy(h->admin_token.at, given, h->admin_token.len);
    settings_wipe(&h->settings, SETTING_admin_token);
    return check_token(h, "WS_ADMIN_TOKEN");
}

static int read_token(struct hermes *h, const char *file)
{
    struct auth_source source = {file, h->error, sizeof h->error};
    secret_fini(&h->admin_token);
    switch (auth_read(&source, TOKEN_MAX + 2, &h->admin_token)) {
    case AUTH_LOADED:
        return check_token(h, "WS_ADMIN_TOKEN_FILE");
    case AUTH_UNUSABLE:
        return HERMES_INVALID;
    case AUTH_UNREADABLE:
        return HERMES_SYSTEM;
    default:
        return HERMES_NO_MEMORY;
    }
}

/* Once it was taken it is kept: a broker that did not start may be started again. */
static int load_token(struct hermes *h)
{
    const char *file = hermes_text(h, SETTING_admin_token_file);
    bool given = *hermes_text(h, SETTING_admin_token) != '\0';
    if (given && *file) {
        snprintf(h->error, sizeof h->error, "set WS_ADMIN_TOKEN or WS_ADMIN_TOKEN_FILE, not both");
        return HERMES_INVALID;
    }
    int code = given ? take_token(h) : *file ? read_token(h, file) : HERMES_OK;
    wipe_registers();
    return code;
}

static void warn_of_weak(struct hermes *h)
{
    if (h->admin_token.len > 0 && h->admin_token.len < TOKEN_LONG)
        LOG_LINE(&h->logger, LOG_WARN, "weak admin token",
            LOG_STRING("reason", "it is shorter than 16 characters and can be guessed"));
}

int hermes_reload_admin(struct hermes *h)
{
    const char *file = hermes_text(h, SETTING_admin_token_file);
    if (!h->admin || !*file)
        return HERMES_OK;
    int code = load_token(h);
    if (code == HERMES_OK && !admin_set_token(h->admin, given_token(h)))
        code = no_memory(h);
    if (code != HERMES_OK) {
        LOG_LINE(&h->logger, LOG_ERROR, "admin token not loaded, the old one stays",
            LOG_STRING("reason", h->error));
        return code;
    }
    LOG_LINE(&h->logger, LOG_INFO, "admin token loaded", LOG_STRING("file", file));
    warn_of_weak(h);
    return HERMES_OK;
}

/* --- the listener ----------------------------------------------------------------------------- */

static void drain(void *user)
{
    hermes_begin_drain(user);
}

static struct admin_settings settings_of(struct hermes *h, void (*ended)(void *user))
{
    const char *host = hermes_text(h, SETTING_admin_host);
    uint64_t port = hermes_number(h, SETTING_admin_port);
    if (strcmp(host, "auto") == 0)
        host = h->admin_token.len > 0 ? "" : "127.0.0.1";
    return (struct admin_settings){
        .host = host,
        .port = port == PORT_AUTO ? DEFAULT_PORT : (int)port,
        .given = &h->given[LISTENER_ADMIN],
        .token = given_token(h),
        .body_max = h->shop.limits.message_bytes + BODY_MORE,
        .shop = &h->shop,
        .outside = &h->outside,
        .cluster = h->cluster ? &h->cluster->metrics : NULL,
        .acceptor = &h->acceptor.metrics,
        .public_port = h->acceptor.port,
        .public_tls = h->acceptor.settings.tls,
        .tls_port = h->acceptor.tls_port > 0 ? h->acceptor.tls_port : 0,
        .drain = drain,
        .ended = ended,
        .user = h,
    };
}

int hermes_open_admin(struct hermes *h, void (*ended)(void *user))
{
    uint64_t port = hermes_number(h, SETTING_admin_port);
    if (port == PORT_OFF && h->given[LISTENER_ADMIN].count == 0)
        return HERMES_OK;
    int code = load_token(h);
    if (code != HERMES_OK)
        return code;
    struct admin_settings settings = settings_of(h, ended);
    struct admin *a = aligned_alloc(64, (sizeof *a + 63) / 64 * 64);
    if (!a)
        return no_memory(h);
    enum admin_fault fault = admin_open(a, &settings, h->error, sizeof h->error);
    if (fault == ADMIN_OPENED) {
        h->admin = a;
        h->shop.observed = true;
        return HERMES_OK;
    }
    free(a);
    if (fault == ADMIN_EXPOSED)
        return HERMES_INVALID;
    if (port != PORT_AUTO || fault != ADMIN_UNBOUND)
        return HERMES_SYSTEM;
    LOG_LINE(&h->logger, LOG_WARN, "no admin listener", LOG_STRING("reason", h->error));
    return HERMES_OK;
}

void hermes_log_admin(struct hermes *h)
{
    const struct admin *a = h->admin;
    if (!a)
        return;
    LOG_LINE(&h->logger, LOG_INFO, "admin listener",
        LOG_STRING("host", *a->settings.host ? a->settings.host : "*"), LOG_NUMBER("port", a->port),
        LOG_STRING("token", h->admin_token.len > 0 ? "yes" : "no"));
    warn_of_weak(h);
}
