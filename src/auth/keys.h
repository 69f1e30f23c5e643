/* What tokens are checked against: keys, whom they must be for and from, and who is refused.
 *
 * Made from settings at the start and at each reload; a verifier (auth/verifier.h) of each worker
 * uses it.
 * Ownership: counted; immutable once made.
 * Threads: any. */
#ifndef HERMES_AUTH_KEYS_H
#define HERMES_AUTH_KEYS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/deny.h"
#include "auth/load.h"
#include "auth/public_keys.h"
#include "auth/secret.h"

enum {
    AUTH_SECRET_MAX = 4096, /* bytes */
    AUTH_SECRET_GOOD = 32,  /* fewer are warned about (RFC 7518, section 3.2) */
    AUTH_LEEWAY = 5,        /* seconds, by default */
    AUTH_LEEWAY_MAX = 86400,
};

/* NULL and "" are both not set. The names are what an error's line begins with. */
struct auth_settings {
    const char *secret; /* the bytes themselves, up to the end of the string */
    const char *secret_name;
    const char *secret_file; /* one line end after the secret is none of it */
    const char *public_key_file;
    const char *audience; /* what `aud` must be, or have among others; not asked when not set */
    const char *issuer;   /* what `iss` must be */
    const char *deny_file;
    uint64_t leeway; /* seconds */
};

struct auth_keys {
    _Atomic uint32_t references;
    struct secret secret; /* `at` is NULL: none */
    struct public_keys public;
    struct deny deny;
    char *audience; /* NULL: not asked */
    char *issuer;
    uint64_t leeway;
};

/* AUTH_LOADED, and `*out` with a reference for the caller, or NULL when nothing at all is set
 * (everything is open then); else one line for a person in `error`, which begins with the file's or
 * the setting's name. Conditions without any key are a fault: whoever sets them does not want
 * everything to be open. Nothing of a secret is ever in `error`. The settings' own copy of the
 * secret is the caller's to wipe. */
enum auth_load auth_keys_load(
    const struct auth_settings *settings, struct auth_keys **out, char *error, size_t size);
void auth_keys_hold(struct auth_keys *keys);
void auth_keys_drop(struct auth_keys *keys); /* NULL is ignored */

/* A secret alone, as the setting for a file reads it. */
enum auth_load auth_secret_read(struct secret *out, const struct auth_source *source);

/* NULL, or a sentence to be logged as a warning, static: what is weak about the keys although they
 * are used. */
const char *auth_keys_warning(const struct auth_keys *keys);

#endif
