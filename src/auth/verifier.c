#include "auth/verifier.h"

#include <mbedtls/constant_time.h>
#include <mbedtls/md.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>
#include <stdbool.h>
#include <stdlib.h>

#include "auth/base64url.h"
#include "auth/cache.h"
#include "auth/curve.h"
#include "auth/error.h"
#include "auth/jwt.h"

struct verifier {
    struct auth_keys *keys;
    mbedtls_pk_context *public; /* one for each of the keys */
    struct cache cache;
};

/* What a token brings to be compared with. */
struct proof {
    const struct auth_alg *alg;
    struct text text; /* that was signed */
    unsigned char digest[MBEDTLS_MD_MAX_SIZE];
    size_t digest_len;
    unsigned char signature[BASE64URL_BYTES(AUTH_TOKEN_MAX)];
    size_t len;
};

struct verifier *verifier_new(struct auth_keys *keys)
{
    size_t count = keys->public.count;
    struct verifier *v = calloc(1, sizeof *v);
    if (v && count > 0 && !(v->public = calloc(count, sizeof *v->public))) {
        free(v);
        v = NULL;
    }
    if (!v)
        return NULL;
    auth_keys_hold(keys);
    v->keys = keys;
    for (size_t i = 0; i < count; i++)
        mbedtls_pk_init(&v->public[i]);
    for (size_t i = 0; i < count; i++) {
        const struct public_key *key = &keys->public.at[i];
        if (mbedtls_pk_parse_public_key(&v->public[i], key -> der, key -> der_len) == 0)
            continue;
        verifier_free(v);
        return NULL;
    }
    return v;
}

void verifier_free(struct verifier *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->keys->public.count; i++)
        mbedtls_pk_free(&v->public[i]);
    free(v->public);
    cache_fini(&v->cache);
    auth_keys_drop(v->keys);
    free(v);
}

/* --- signatures ------------------------------------------------------------------------------- */

static enum auth_result check_secret(const struct secret *secret, const struct proof *p)
{
    unsigned char wanted[MBEDTLS_MD_MAX_SIZE];
    const mbedtls_md_info_t *md = mbedtls_md_info_from_type(p->alg->digest);
    int error = mbedtls_md_hmac(
        md, secret->at, secret->len, (const unsigned char *)p->text.at, p->text.len, wanted);
    bool same = !error && p->len == mbedtls_md_get_size(md) &&
                mbedtls_ct_memcmp(wanted, p->signature, p->len) == 0;
    mbedtls_platform_zeroize(wanted, sizeof wanted);
    return error ? AUTH_NO_MEMORY : same ? AUTH_OK : AUTH_BAD_SIGNATURE;
}

static enum auth_result check_public(mbedtls_pk_context *pk, const struct proof *p)
{
    unsigned char der[CURVE_SIGNATURE_DER_MAX];
    const unsigned char *signature = p->signature;
    size_t len = p->len;
    if (p->alg->kind != AUTH_RSA) {
        if (len != 2 * auth_curve_bytes(p->alg->kind))
            return AUTH_BAD_SIGNATURE;
        len = curve_signature_to_der(p->alg->kind, p->signature, der);
        signature = der;
    }
    int error = mbedtls_pk_verify(pk, p->alg->digest, p->digest, p->digest_len, signature, len);
    if (error == 0)
        return AUTH_OK;
    return auth_error_is_memory(error) ? AUTH_NO_MEMORY : AUTH_BAD_SIGNATURE;
}

static bool key_fits(const struct public_key *key, const struct auth_alg *alg)
{
    return key->only ? key->only == alg : key->kind == alg->kind;
}

/* The place of the key that a token with this name is checked with; the count of all when there is
 * no such key. `name.at` NULL: the one that is the only one to fit. */
static size_t key_find(const struct public_keys *keys, const struct auth_alg *alg, struct text name)
{
    size_t found = keys->count;
    for (size_t i = 0; i < keys->count; i++) {
        const struct public_key *key = &keys->at[i];
        if (name.at && key->name && text_equal(name, text_of(key->name)))
            return i;
        if (!name.at && key_fits(key, alg)) {
            if (found != keys->count)
                return keys->count;
            found = i;
        }
    }
    return found;
}

/* With each of the keys that have no name. */
static enum auth_result check_nameless(struct verifier *v, const struct proof *p)
{
    const struct public_keys *keys = &v->keys->public;
    enum auth_result result = AUTH_NO_KEY;
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->at[i].name || !key_fits(&keys->at[i], p->alg))
            continue;
        result = check_public(&v->public[i], p);
        if (result != AUTH_BAD_SIGNATURE)
            break;
    }
    return result;
}

static enum auth_result check_signature(struct verifier *v, struct text name, struct proof *p)
{
    const struct public_keys *keys = &v->keys->public;
    if (p->alg->kind == AUTH_SECRET)
        return v->keys->secret.at ? check_secret(&v->keys->secret, p) : AUTH_NO_KEY;
    const mbedtls_md_info_t *md = mbedtls_md_info_from_type(p->alg->digest);
    p->digest_len = mbedtls_md_get_size(md);
    if (mbedtls_md(md, (const unsigned char *)p->text.at, p->text.len, p->digest) != 0)
        return AUTH_NO_MEMORY;
    size_t at = name.at ? key_find(keys, p->alg, name) : keys->count;
    if (at == keys->count) {
        enum auth_result result = check_nameless(v, p);
        if (result != AUTH_NO_KEY)
            return result;
        at = key_find(keys, p->alg, name);
    }
    if (at == keys->count || !key_fits(&keys->at[at], p->alg))
        return AUTH_NO_KEY;
    return check_public(&v->public[at], p);
}

/* --- tokens ----------------------------------------------------------------------------------- */

static enum auth_result check_jwt(
    struct verifier *v, const struct jwt *jwt, uint64_t now, struct claims **out)
{
    union {
        struct proof proof;
        unsigned char payload[BASE64URL_BYTES(AUTH_TOKEN_MAX)];
    } u;
    size_t len;
    u.proof.alg = jwt->alg;
    u.proof.text = jwt->signed_part;
    if (!jwt->alg)
        return AUTH_NO_KEY;
    if (!base64url_decode(jwt->signature, u.proof.signature, &u.proof.len))
        return AUTH_MALFORMED;
    enum auth_result result = check_signature(v, jwt->name, &u.proof);
    if (result != AUTH_OK)
        return result;
    if (!base64url_decode(jwt->payload, u.payload, &len))
        return AUTH_MALFORMED;
    return claims_read(v->keys, (struct text){(char *)u.payload, len}, now, out);
}

static enum auth_result check_new(
    struct verifier *v, struct text token, uint64_t now, bool *is_public, struct claims **out)
{
    struct jwt jwt;
    enum auth_result result = jwt_read(&jwt, token);
    if (result == AUTH_OK)
        result = check_jwt(v, &jwt, now, out);
    *is_public = jwt.alg && jwt.alg->kind != AUTH_SECRET;
    jwt_fini(&jwt);
    return result;
}

/* A token that a secret has signed is checked as fast as it is found again. */
enum auth_result verifier_check(
    struct verifier *v, struct text token, uint64_t now, struct claims **out)
{
    unsigned char digest[MBEDTLS_MD_MAX_SIZE];
    bool is_public;
    *out = NULL;
    if (token.len == 0 || token.len > AUTH_TOKEN_MAX)
        return AUTH_MALFORMED;
    if (v->keys->public.count == 0)
        return check_new(v, token, now, &is_public, out);
    if (mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), (const unsigned char *)token.at,
            token.len, digest) != 0)
        return AUTH_NO_MEMORY;
    struct claims *known = cache_find(&v->cache, digest);
    if (!known) {
        enum auth_result result = check_new(v, token, now, &is_public, out);
        if (result == AUTH_OK && is_public)
            cache_put(&v->cache, digest, *out);
        return result;
    }
    enum auth_result result = claims_check_time(v->keys, known, now);
    if (result == AUTH_OK) {
        claims_hold(known);
        *out = known;
    } else {
        cache_forget(&v->cache, digest);
    }
    return result;
}
