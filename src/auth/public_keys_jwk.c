#include <jansson.h>
#include <mbedtls/rsa.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "auth/base64url.h"
#include "auth/curve.h"
#include "auth/error.h"
#include "auth/public_keys.h"

/* One key of a set. */
struct jwk {
    const struct auth_source *source;
    size_t number;
    const json_t *object;
};

static enum auth_load refuse(const struct jwk *k, const char *what)
{
    return auth_refuse(k->source, AUTH_UNUSABLE, "key %zu %s", k->number, what);
}

static enum auth_load failed(const struct jwk *k, int error)
{
    if (auth_error_is_memory(error))
        return auth_refuse(k->source, AUTH_LOAD_NO_MEMORY, "out of memory");
    return refuse(k, "is no key that can be: its numbers do not fit together");
}

/* A member that is a string; `at` is NULL where there is none. */
static struct text string(const struct jwk *k, const char *name)
{
    const json_t *value = json_object_get(k->object, name);
    return (struct text){json_string_value(value), json_string_length(value)};
}

static bool bytes(
    const struct jwk *k, const char *name, unsigned char *at, size_t room, size_t *len)
{
    struct text text = string(k, name);
    return text.len > 0 && BASE64URL_BYTES(text.len) <= room && base64url_decode(text, at, len);
}

static enum auth_load rsa_read(const struct jwk *k, mbedtls_pk_context *pk)
{
    unsigned char n[PUBLIC_KEY_RSA_MAX / 8 + 4];
    unsigned char e[16];
    size_t n_len;
    size_t e_len;
    if (!bytes(k, "n", n, sizeof n, &n_len) || !bytes(k, "e", e, sizeof e, &e_len))
        return refuse(k, "has no n or e, as base64url");
    int error = mbedtls_pk_setup(pk, mbedtls_pk_info_from_type(MBEDTLS_PK_RSA));
    if (!error)
        error = mbedtls_rsa_import_raw(
            mbedtls_pk_rsa(*pk), n, n_len, NULL, 0, NULL, 0, NULL, 0, e, e_len);
    if (!error)
        error = mbedtls_rsa_complete(mbedtls_pk_rsa(*pk));
    if (!error)
        error = mbedtls_rsa_check_pubkey(mbedtls_pk_rsa(*pk));
    return error ? failed(k, error) : AUTH_LOADED;
}

static enum auth_load curve_read(const struct jwk *k, enum auth_kind kind, mbedtls_pk_context *pk)
{
    unsigned char der[CURVE_DER_MAX + 4];
    struct text head = curve_der_head(kind);
    size_t size = auth_curve_bytes(kind);
    size_t len;
    memcpy(der, head.at, head.len);
    unsigned char *x = der + head.len;
    if (!bytes(k, "x", x, size + 4, &len) || len != size ||
        !bytes(k, "y", x + size, size + 4, &len) || len != size)
        return refuse(k, "has no x or y of the curve's length, as base64url");
    /* Which makes sure that it is a point of the curve. */
    int error = mbedtls_pk_parse_public_key(pk, der, head.len + 2 * size);
    return error ? failed(k, error) : AUTH_LOADED;
}

static bool curve_find(struct text name, enum auth_kind *kind)
{
    *kind = text_equal(name, TEXT("P-256"))   ? AUTH_P256
            : text_equal(name, TEXT("P-384")) ? AUTH_P384
                                              : AUTH_P521;
    return *kind != AUTH_P521 || text_equal(name, TEXT("P-521"));
}

static enum auth_load key_read(struct public_keys *keys, const struct jwk *k)
{
    struct text type = string(k, "kty");
    struct text use = string(k, "use");
    struct text alg = string(k, "alg");
    enum auth_kind kind = AUTH_RSA;
    mbedtls_pk_context pk;
    if (!json_is_object(k->object) || !type.at)
        return refuse(k, "is no JWK: it has no kty");
    if (text_equal(type, TEXT("oct")))
        return refuse(k, "is a secret: give it as one, not among public keys");
    if (json_object_get(k->object, "d"))
        return refuse(k, "is a private one: give the public one (without d)");
    /* Sets are shared: what is not for us is passed over (RFC 7517, section 5). */
    bool rsa = text_equal(type, TEXT("RSA"));
    bool curve = text_equal(type, TEXT("EC")) && curve_find(string(k, "crv"), &kind);
    const struct auth_alg *only = alg.at ? auth_alg_find(alg) : NULL;
    if ((!rsa && !curve) || (use.at && !text_equal(use, TEXT("sig"))) || (alg.at && !only))
        return AUTH_LOADED;
    mbedtls_pk_init(&pk);
    enum auth_load code = rsa ? rsa_read(k, &pk) : curve_read(k, kind, &pk);
    if (code == AUTH_LOADED)
        code = public_keys_add(keys, k->source, k->number, &pk, string(k, "kid"), only);
    mbedtls_pk_free(&pk);
    return code;
}

static enum auth_load root_read(
    struct public_keys *keys, const struct auth_source *source, const json_t *root)
{
    const json_t *list = json_object_get(root, "keys");
    enum auth_load code = AUTH_LOADED;
    if (json_object_get(root, "kty")) {
        code = key_read(keys, &(struct jwk){source, 1, root});
    } else if (!json_is_array(list)) {
        return auth_refuse(
            source, AUTH_UNUSABLE, "is no JWK set: give {\"keys\": [{\"kty\": ...}, ...]}");
    } else {
        for (size_t i = 0; i < json_array_size(list) && code == AUTH_LOADED; i++)
            code = key_read(keys, &(struct jwk){source, i + 1, json_array_get(list, i)});
    }
    if (code == AUTH_LOADED && keys->count == 0)
        return auth_refuse(source, AUTH_UNUSABLE,
            "holds no key to check signatures with: RSA, or EC on P-256, P-384 or P-521");
    return code;
}

enum auth_load public_keys_parse_jwk(
    struct public_keys *keys, const struct auth_source *source, struct text file)
{
    json_error_t fault;
    json_t *root = json_loadb(file.at, file.len, JSON_REJECT_DUPLICATES, &fault);
    if (!root) {
        if (fault.line < 0) /* how jansson mostly tells of that */
            return auth_refuse(source, AUTH_LOAD_NO_MEMORY, "out of memory");
        return auth_refuse(
            source, AUTH_UNUSABLE, "line %d, column %d: %s", fault.line, fault.column, fault.text);
    }
    enum auth_load code = root_read(keys, source, root);
    json_decref(root);
    return code;
}
