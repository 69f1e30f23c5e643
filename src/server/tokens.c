/* What tokens are checked with: from the settings to keys. */
#include <stdio.h>
#include <string.h>

#include "server/server.h"

/* The secret is kept where nobody sees it, and no longer among the settings. */
static bool take_secret(struct hermes *h)
{
    const char *given = hermes_text(h, SETTING_jwt_secret);
    struct secret secret;
    if (!*given)
        return true;
    if (!secret_init(&secret, strlen(given)))
        return false;
    memcpy(secret.at, given, secret.len);
    settings_wipe(&h->settings, SETTING_jwt_secret);
    secret_fini(&h->jwt_secret);
    h->jwt_secret = secret;
    return true;
}

int hermes_read_keys(struct hermes *h, struct auth_keys **out)
{
    *out = NULL;
    if (!take_secret(h)) {
        snprintf(h->error, sizeof h->error, "out of memory");
        return HERMES_NO_MEMORY;
    }
    struct auth_settings settings = {
        .secret = (const char *)h->jwt_secret.at,
        .secret_name = "WS_JWT_SECRET",
        .secret_file = hermes_text(h, SETTING_jwt_secret_file),
        .public_key_file = hermes_text(h, SETTING_jwt_public_key),
        .audience = hermes_text(h, SETTING_jwt_audience),
        .issuer = hermes_text(h, SETTING_jwt_issuer),
        .deny_file = hermes_text(h, SETTING_jwt_deny),
        .leeway = (hermes_number(h, SETTING_jwt_leeway_ms) + 999) / 1000,
    };
    switch (auth_keys_load(&settings, out, h->error, sizeof h->error)) {
    case AUTH_LOADED:
        return HERMES_OK;
    case AUTH_UNUSABLE:
        return HERMES_INVALID;
    case AUTH_UNREADABLE:
        return HERMES_SYSTEM;
    default:
        return HERMES_NO_MEMORY;
    }
}

/* Who wrote them thinks that somebody can. */
static void warn_of_rules(struct hermes *h)
{
    struct rules *rules = rules_box_take(&h->shop.rules);
    bool ask = false;
    for (size_t i = 0; rules && i < rules->count; i++) {
        const struct rule *rule = &rules->list[i];
        ask |= rule->publish == ACCESS_AUTHENTICATED || rule->publish == ACCESS_TOKEN ||
               rule->subscribe == ACCESS_AUTHENTICATED || rule->subscribe == ACCESS_TOKEN;
    }
    rules_drop(rules);
    if (ask)
        LOG_LINE(&h->logger, LOG_WARN, "rules ask for tokens",
            LOG_STRING("reason", "none are checked: nobody may do what these rules are for"));
}

void hermes_log_keys(struct hermes *h, const struct auth_keys *keys)
{
    if (!keys) {
        LOG_LINE(&h->logger, LOG_INFO, "tokens are not checked",
            LOG_STRING("reason",
                "no key is configured: everyone may connect and do what the rules allow"));
        warn_of_rules(h);
        return;
    }
    LOG_LINE(&h->logger, LOG_INFO, "tokens are checked",
        LOG_STRING("secret", keys->secret.at ? "yes" : "no"),
        LOG_NUMBER("public_keys", keys->public.count),
        LOG_NUMBER("denied_ids", keys->deny.ids.count),
        LOG_NUMBER("denied_users", keys->deny.users.count));
    const char *warning = auth_keys_warning(keys);
    if (warning)
        LOG_LINE(&h->logger, LOG_WARN, "weak key", LOG_STRING("reason", warning));
}
