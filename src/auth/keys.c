#include "auth/keys.h"

#include <stdlib.h>
#include <string.h>

static bool is_set(const char *setting)
{
    return setting && *setting;
}

/* Whose public key would be taken for a secret could be forged by everyone who has it. */
static enum auth_load secret_check(const struct auth_source *source, const struct secret *secret)
{
    if (secret->len == 0)
        return auth_refuse(source, AUTH_UNUSABLE, "is empty: give at least 32 random bytes");
    if (memmem(secret->at, secret->len, "-----BEGIN ", 11))
        return auth_refuse(source, AUTH_UNUSABLE,
            "holds PEM: a public key goes into the setting for public keys, a secret is random "
            "bytes");
    return AUTH_LOADED;
}

static enum auth_load secret_copy(
    struct secret *out, const struct auth_source *source, const char *text)
{
    size_t len = strlen(text);
    if (len > AUTH_SECRET_MAX)
        return auth_refuse(source, AUTH_UNUSABLE, "has more than %d bytes", AUTH_SECRET_MAX);
    if (!secret_init(out, len))
        return auth_refuse(source, AUTH_LOAD_NO_MEMORY, "out of memory");
    memcpy(out->at, text, len);
    return secret_check(source, out);
}

enum auth_load auth_secret_read(struct secret *out, const struct auth_source *source)
{
    enum auth_load code = auth_read(source, AUTH_SECRET_MAX + 2, out);
    if (code != AUTH_LOADED)
        return code;
    if (out->len > 0 && out->at[out->len - 1] == '\n')
        out->at[--out->len] = '\0';
    if (out->len > 0 && out->at[out->len - 1] == '\r')
        out->at[--out->len] = '\0';
    return secret_check(source, out);
}

static enum auth_load load_keys(
    struct auth_keys *keys, const struct auth_settings *settings, struct auth_source *source)
{
    enum auth_load code = AUTH_LOADED;
    source->name = settings->secret_name ? settings->secret_name : "secret";
    if (is_set(settings->secret) && is_set(settings->secret_file))
        return auth_refuse(
            source, AUTH_UNUSABLE, "is set, and so is a file for it: give one of them");
    if (is_set(settings->secret))
        code = secret_copy(&keys->secret, source, settings->secret);
    source->name = settings->secret_file;
    if (code == AUTH_LOADED && is_set(settings->secret_file))
        code = auth_secret_read(&keys->secret, source);
    source->name = settings->public_key_file;
    if (code == AUTH_LOADED && is_set(settings->public_key_file))
        code = public_keys_read(&keys->public, source);
    return code;
}

static enum auth_load text_copy(char **out, const struct auth_source *source, const char *text)
{
    *out = is_set(text) ? strdup(text) : NULL;
    if (is_set(text) && !*out)
        return auth_refuse(source, AUTH_LOAD_NO_MEMORY, "out of memory");
    return AUTH_LOADED;
}

static enum auth_load load_all(
    struct auth_keys *keys, const struct auth_settings *settings, struct auth_source *source)
{
    enum auth_load code = load_keys(keys, settings, source);
    source->name = "tokens";
    if (code == AUTH_LOADED && !keys->secret.at && keys->public.count == 0)
        code = auth_refuse(source, AUTH_UNUSABLE,
            "an audience, an issuer or a deny list is set, but no key: give a secret or public "
            "keys");
    if (code == AUTH_LOADED)
        code = text_copy(&keys->audience, source, settings->audience);
    if (code == AUTH_LOADED)
        code = text_copy(&keys->issuer, source, settings->issuer);
    source->name = settings->deny_file;
    if (code == AUTH_LOADED && is_set(settings->deny_file))
        code = deny_read(&keys->deny, source);
    return code;
}

enum auth_load auth_keys_load(
    const struct auth_settings *settings, struct auth_keys **out, char *error, size_t size)
{
    struct auth_source source = {"tokens", error, size};
    const struct auth_settings *s = settings;
    *out = NULL;
    if (!is_set(s->secret) && !is_set(s->secret_file) && !is_set(s->public_key_file) &&
        !is_set(s->audience) && !is_set(s->issuer) && !is_set(s->deny_file))
        return AUTH_LOADED;
    struct auth_keys *keys = calloc(1, sizeof *keys);
    if (!keys)
        return auth_refuse(&source, AUTH_LOAD_NO_MEMORY, "out of memory");
    atomic_init(&keys->references, 1);
    keys->leeway = s->leeway < AUTH_LEEWAY_MAX ? s->leeway : AUTH_LEEWAY_MAX;
    enum auth_load code = load_all(keys, s, &source);
    if (code == AUTH_LOADED)
        *out = keys;
    else
        auth_keys_drop(keys);
    return code;
}

void auth_keys_hold(struct auth_keys *keys)
{
    atomic_fetch_add_explicit(&keys->references, 1, memory_order_relaxed);
}

void auth_keys_drop(struct auth_keys *keys)
{
    if (!keys || atomic_fetch_sub_explicit(&keys->references, 1, memory_order_acq_rel) != 1)
        return;
    secret_fini(&keys->secret);
    public_keys_fini(&keys->public);
    deny_fini(&keys->deny);
    free(keys->audience);
    free(keys->issuer);
    free(keys);
}

const char *auth_keys_warning(const struct auth_keys *keys)
{
    if (keys->secret.at && keys->secret.len < AUTH_SECRET_GOOD)
        return "The secret for tokens has fewer than 32 bytes: whoever has one token can try to "
               "guess it. Give 32 random ones or more (openssl rand -base64 48).";
    return NULL;
}
