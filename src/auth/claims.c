#include "auth/claims.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "auth/json.h"

/* A claim that is text, empty where there is none; false: it is something else. */
static bool text_claim(const json_t *root, const char *name, struct text *out)
{
    const json_t *value = json_object_get(root, name);
    *out = (struct text){"", 0};
    if (!value)
        return true;
    if (!json_is_string(value))
        return false;
    *out = (struct text){json_string_value(value), json_string_length(value)};
    return true;
}

/* The first whole second that is not before the claim's time: a time that is between two of them
 * has come at the later one. */
static bool time_claim(const json_t *root, const char *name, uint64_t *out)
{
    const json_t *value = json_object_get(root, name);
    if (!value)
        return true;
    if (!json_is_real(value))
        return false;
    double time = json_real_value(value);
    if (!(time > 0))
        *out = 0;
    else if (time >= (double)INT64_MAX)
        *out = INT64_MAX;
    else
        *out = (uint64_t)time + (time > (double)(uint64_t)time);
    return true;
}

static enum auth_result audience_check(const struct auth_keys *keys, const json_t *audience)
{
    bool found = !keys->audience;
    if (!audience)
        return found ? AUTH_OK : AUTH_WRONG_AUDIENCE;
    if (!json_is_string(audience) && !json_is_array(audience))
        return AUTH_BAD_CLAIMS;
    size_t count = json_is_array(audience) ? json_array_size(audience) : 1;
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_is_array(audience) ? json_array_get(audience, i) : audience;
        if (!json_is_string(one))
            return AUTH_BAD_CLAIMS;
        found = found || strcmp(json_string_value(one), keys->audience) == 0;
    }
    return found ? AUTH_OK : AUTH_WRONG_AUDIENCE;
}

/* --- the hermes claim ------------------------------------------------------------------------- */

/* What is to be copied out of the JSON. */
struct reading {
    struct claims claims;
    const json_t *subscribe; /* NULL: no list */
    const json_t *publish;
    size_t patterns;
    size_t bytes; /* of all texts */
};

static bool patterns_measure(struct reading *r, const json_t *list)
{
    if (!json_is_array(list) || json_array_size(list) > CLAIMS_PATTERNS_MAX - r->patterns)
        return false;
    r->patterns += json_array_size(list);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *pattern = json_array_get(list, i);
        if (!json_is_string(pattern))
            return false;
        r->bytes += json_string_length(pattern);
    }
    return true;
}

/* A name that is not known is refused, not passed over: a limit that is misspelt must not be none.
 */
static bool hermes_claim(struct reading *r, json_t *hermes)
{
    r->claims.presence = !hermes;
    if (!hermes)
        return true;
    if (!json_is_object(hermes))
        return false;
    for (void *at = json_object_iter(hermes); at; at = json_object_iter_next(hermes, at)) {
        const char *name = json_object_iter_key(at);
        const json_t *value = json_object_iter_value(at);
        bool good = false;
        if (strcmp(name, "presence") == 0) {
            good = json_is_boolean(value);
            r->claims.presence = json_is_true(value);
        } else if (strcmp(name, "subscribe") == 0) {
            good = patterns_measure(r, value);
            r->subscribe = value;
        } else if (strcmp(name, "publish") == 0) {
            good = patterns_measure(r, value);
            r->publish = value;
        }
        if (!good)
            return false;
    }
    return r->bytes <= CLAIMS_PATTERNS_BYTES_MAX;
}

/* --- the copy --------------------------------------------------------------------------------- */

static struct text text_copy(char **at, struct text text)
{
    struct text copy = {*at, text.len};
    memcpy(*at, text.at, text.len);
    *at += text.len;
    return copy;
}

static struct claims_patterns patterns_copy(struct text **at, char **bytes, const json_t *list)
{
    struct claims_patterns copy = {*at, (uint32_t)json_array_size(list), list != NULL};
    for (size_t i = 0; i < copy.count; i++) {
        const json_t *pattern = json_array_get(list, i);
        *(*at)++ = text_copy(
            bytes, (struct text){json_string_value(pattern), json_string_length(pattern)});
    }
    return copy;
}

static struct claims *claims_new(const struct reading *r)
{
    size_t bytes = r->bytes + r->claims.user.len + r->claims.id.len;
    struct claims *c = malloc(sizeof *c + r->patterns * sizeof(struct text) + bytes);
    if (!c)
        return NULL;
    struct text *patterns = (struct text *)(c + 1);
    char *at = (char *)(patterns + r->patterns);
    *c = r->claims;
    c->references = 1;
    c->user = text_copy(&at, r->claims.user);
    c->id = text_copy(&at, r->claims.id);
    c->subscribe = patterns_copy(&patterns, &at, r->subscribe);
    c->publish = patterns_copy(&patterns, &at, r->publish);
    return c;
}

struct claims *claims_of_user(struct text user)
{
    struct reading r = {
        .claims = {.user = user, .id = TEXT(""), .expires = CLAIMS_NEVER, .presence = true}};
    return claims_new(&r);
}

void claims_drop(struct claims *claims)
{
    if (claims && --claims->references == 0)
        free(claims);
}

/* --- all of it -------------------------------------------------------------------------------- */

enum auth_result claims_check_time(
    const struct auth_keys *keys, const struct claims *claims, uint64_t now)
{
    if (claims->expires != CLAIMS_NEVER && now >= claims->expires + keys->leeway)
        return AUTH_EXPIRED;
    return now + keys->leeway < claims->not_before ? AUTH_NOT_YET : AUTH_OK;
}

static enum auth_result root_read(
    const struct auth_keys *keys, json_t *root, uint64_t now, struct reading *r)
{
    struct text issuer;
    r->claims.expires = CLAIMS_NEVER;
    if (!text_claim(root, "sub", &r->claims.user) || r->claims.user.len > CLAIMS_USER_MAX ||
        !text_claim(root, "jti", &r->claims.id) || !text_claim(root, "iss", &issuer) ||
        !time_claim(root, "exp", &r->claims.expires) ||
        !time_claim(root, "nbf", &r->claims.not_before) ||
        !hermes_claim(r, json_object_get(root, "hermes")))
        return AUTH_BAD_CLAIMS;
    enum auth_result audience = audience_check(keys, json_object_get(root, "aud"));
    if (audience == AUTH_BAD_CLAIMS)
        return audience;
    enum auth_result time = claims_check_time(keys, &r->claims, now);
    if (time != AUTH_OK)
        return time;
    if (keys->issuer && !text_equal(issuer, text_of(keys->issuer)))
        return AUTH_WRONG_ISSUER;
    if (audience != AUTH_OK)
        return audience;
    if (deny_has(&keys->deny.ids, r->claims.id) || deny_has(&keys->deny.users, r->claims.user))
        return AUTH_DENIED;
    return AUTH_OK;
}

enum auth_result claims_read(
    const struct auth_keys *keys, struct text json, uint64_t now, struct claims **out)
{
    json_t *root;
    struct reading r = {0};
    *out = NULL;
    enum auth_result result = auth_json_read(json, &root);
    if (result != AUTH_OK)
        return result;
    result = root_read(keys, root, now, &r);
    if (result == AUTH_OK && !(*out = claims_new(&r)))
        result = AUTH_NO_MEMORY;
    json_decref(root);
    return result;
}
