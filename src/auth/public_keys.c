#include "auth/public_keys.h"

#include <stdlib.h>
#include <string.h>

#include "auth/curve.h"

const char *public_key_write(mbedtls_pk_context *pk, enum auth_kind *kind,
    unsigned char der[PUBLIC_KEY_DER_MAX], size_t *len)
{
    static const enum auth_kind curves[] = {AUTH_P256, AUTH_P384, AUTH_P521};
    if (mbedtls_pk_can_do(pk, MBEDTLS_PK_RSA)) {
        size_t bits = mbedtls_pk_get_bitlen(pk);
        if (bits < PUBLIC_KEY_RSA_MIN)
            return "has fewer than 2048 bits, which is too weak";
        if (bits > PUBLIC_KEY_RSA_MAX)
            return "has more than 8192 bits, which is too slow";
        *kind = AUTH_RSA;
    } else if (!mbedtls_pk_can_do(pk, MBEDTLS_PK_ECDSA)) {
        return "is neither RSA nor of a curve";
    }
    int written = mbedtls_pk_write_pubkey_der(pk, der, PUBLIC_KEY_DER_MAX);
    if (written <= 0)
        return "cannot be written as DER";
    *len = (size_t)written;
    if (mbedtls_pk_can_do(pk, MBEDTLS_PK_RSA))
        return NULL;
    struct text text = {(const char *)der + PUBLIC_KEY_DER_MAX - *len, *len};
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
        if (text_starts_with(text, curve_der_head(*kind = curves[i])))
            return NULL;
    return "is of a curve that is none of P-256, P-384 and P-521";
}

/* What a new key may not have because of those that are there. */
static enum auth_load check(const struct public_keys *keys, const struct auth_source *source,
    size_t number, struct text name)
{
    size_t nameless = 0;
    if (keys->count == PUBLIC_KEYS_MAX)
        return auth_refuse(
            source, AUTH_UNUSABLE, "holds too many keys: give at most %d", PUBLIC_KEYS_MAX);
    if (name.len > PUBLIC_KEY_NAME_MAX)
        return auth_refuse(source, AUTH_UNUSABLE, "key %zu: its kid is longer than %d bytes",
            number, PUBLIC_KEY_NAME_MAX);
    for (size_t i = 0; i < keys->count; i++) {
        nameless += !keys->at[i].name;
        if (name.at && keys->at[i].name && text_equal(name, text_of(keys->at[i].name)))
            return auth_refuse(source, AUTH_UNUSABLE, "key %zu: there are two keys of kid '%s'",
                number, keys->at[i].name);
    }
    if (!name.at && nameless == PUBLIC_KEYS_NAMELESS_MAX)
        return auth_refuse(source, AUTH_UNUSABLE,
            "holds more than %d keys without a kid: name them, each by a line 'kid: NAME' before "
            "its block",
            PUBLIC_KEYS_NAMELESS_MAX);
    return AUTH_LOADED;
}

enum auth_load public_keys_add(struct public_keys *keys, const struct auth_source *source,
    size_t number, mbedtls_pk_context *pk, struct text name, const struct auth_alg *only)
{
    unsigned char der[PUBLIC_KEY_DER_MAX];
    struct public_key key = {.only = only};
    if (name.len == 0)
        name.at = NULL;
    enum auth_load code = check(keys, source, number, name);
    if (code != AUTH_LOADED)
        return code;
    const char *fault = public_key_write(pk, &key.kind, der, &key.der_len);
    if (fault)
        return auth_refuse(source, AUTH_UNUSABLE, "key %zu %s", number, fault);
    if (only && only->kind != key.kind)
        return auth_refuse(source, AUTH_UNUSABLE, "key %zu: its alg %s is none for such a key",
            number, only->name);
    struct public_key *at = realloc(keys->at, (keys->count + 1) * sizeof *at);
    if (at)
        keys->at = at;
    key.der = malloc(key.der_len);
    key.name = name.at ? malloc(name.len + 1) : NULL;
    if (!at || !key.der || (name.at && !key.name)) {
        free(key.der);
        free(key.name);
        return auth_refuse(source, AUTH_LOAD_NO_MEMORY, "out of memory");
    }
    memcpy(key.der, der + sizeof der - key.der_len, key.der_len);
    if (name.at) {
        memcpy(key.name, name.at, name.len);
        key.name[name.len] = '\0';
    }
    keys->at[keys->count++] = key;
    return AUTH_LOADED;
}

enum auth_load public_keys_parse(
    struct public_keys *keys, const struct auth_source *source, struct text file)
{
    *keys = (struct public_keys){0};
    const char *first = file.at;
    while (first < file.at + file.len && memchr(" \t\r\n", *first, 4))
        first++;
    enum auth_load code = *first == '{' ? public_keys_parse_jwk(keys, source, file)
                                        : public_keys_parse_pem(keys, source, file);
    if (code != AUTH_LOADED)
        public_keys_fini(keys);
    return code;
}

enum auth_load public_keys_read(struct public_keys *keys, const struct auth_source *source)
{
    struct secret file; /* it may turn out to hold a private key */
    *keys = (struct public_keys){0};
    enum auth_load code = auth_read(source, PUBLIC_KEYS_FILE_MAX, &file);
    if (code == AUTH_LOADED)
        code = public_keys_parse(keys, source, (struct text){(const char *)file.at, file.len});
    secret_fini(&file);
    return code;
}

void public_keys_fini(struct public_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        free(keys->at[i].name);
        free(keys->at[i].der);
    }
    free(keys->at);
    *keys = (struct public_keys){0};
}
