#include "auth/make.h"

#include <jansson.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/md.h>
#include <mbedtls/pk.h>
#include <mbedtls/version.h>
#include <string.h>

#include "auth/base64url.h"
#include "auth/curve.h"
#include "auth/jwt.h"
#include "auth/keys.h"
#include "auth/public_keys.h"
#include "auth/verifier.h"

enum { PRIVATE_FILE_MAX = 65536, SIGNATURE_MAX = PUBLIC_KEY_RSA_MAX / 8 };

/* --- keys ------------------------------------------------------------------------------------- */

/* Signing on curves wants random numbers. */
struct signer {
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_pk_context pk;
};

static void signer_fini(struct signer *s)
{
    mbedtls_pk_free(&s->pk);
    mbedtls_ctr_drbg_free(&s->random);
    mbedtls_entropy_free(&s->entropy);
}

/* 0 or an error of mbedTLS's; to be followed by signer_fini, whatever comes. */
static int signer_init(struct signer *s, const struct secret *pem)
{
    mbedtls_pk_init(&s->pk);
    mbedtls_entropy_init(&s->entropy);
    mbedtls_ctr_drbg_init(&s->random);
    int error = mbedtls_ctr_drbg_seed(&s->random, mbedtls_entropy_func, &s->entropy, NULL, 0);
    if (error)
        return error;
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    return mbedtls_pk_parse_key(
        &s->pk, pem->at, pem->len + 1, NULL, 0, mbedtls_ctr_drbg_random, &s->random);
#else
    return mbedtls_pk_parse_key(&s->pk, pem->at, pem->len + 1, NULL, 0);
#endif
}

static int signer_sign(struct signer *s, mbedtls_md_type_t md, const unsigned char *digest,
    size_t digest_len, unsigned char signature[SIGNATURE_MAX], size_t *len)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    return mbedtls_pk_sign(&s->pk, md, digest, digest_len, signature, SIGNATURE_MAX, len,
        mbedtls_ctr_drbg_random, &s->random);
#else
    return mbedtls_pk_sign(
        &s->pk, md, digest, digest_len, signature, len, mbedtls_ctr_drbg_random, &s->random);
#endif
}

enum auth_load token_key_read_secret(struct token_key *key, const struct auth_source *source)
{
    *key = (struct token_key){.kind = AUTH_SECRET};
    return auth_secret_read(&key->bytes, source);
}

enum auth_load token_key_read_private(struct token_key *key, const struct auth_source *source)
{
    struct signer s;
    unsigned char der[PUBLIC_KEY_DER_MAX];
    size_t len;
    *key = (struct token_key){0};
    enum auth_load code = auth_read(source, PRIVATE_FILE_MAX, &key->bytes);
    if (code != AUTH_LOADED)
        return code;
    int error = signer_init(&s, &key->bytes);
    const char *fault = error ? NULL : public_key_write(&s.pk, &key->kind, der, &len);
    signer_fini(&s);
    if (error)
        return auth_refuse(source, AUTH_UNUSABLE,
            "is no private key that can be read, without a password and in PEM (mbedTLS: -0x%04x)",
            (unsigned)-error);
    return fault ? auth_refuse(source, AUTH_UNUSABLE, "%s", fault) : AUTH_LOADED;
}

void token_key_fini(struct token_key *key)
{
    secret_fini(&key->bytes);
}

/* --- a new token ------------------------------------------------------------------------------ */

/* json_object_set_new that passes over what is not wanted; false: no memory, or not UTF-8. */
static bool text_add(json_t *to, const char *name, const char *text)
{
    return !text || json_object_set_new(to, name, json_string(text)) == 0;
}

static bool list_add(json_t *to, const char *name, const char **texts)
{
    if (!texts)
        return true;
    json_t *list = json_array();
    bool good = list != NULL;
    for (; good && *texts; texts++)
        good = json_array_append_new(list, json_string(*texts)) == 0;
    if (good)
        return json_object_set_new(to, name, list) == 0;
    json_decref(list);
    return false;
}

static bool hermes_add(json_t *to, const struct token_wish *wish)
{
    if (!wish->subscribe && !wish->publish && !wish->presence)
        return true;
    json_t *hermes = json_object();
    if (!hermes || !list_add(hermes, "subscribe", wish->subscribe) ||
        !list_add(hermes, "publish", wish->publish) ||
        (wish->presence && json_object_set_new(hermes, "presence", json_true()) != 0)) {
        json_decref(hermes);
        return false;
    }
    return json_object_set_new(to, "hermes", hermes) == 0;
}

static json_t *claims_make(const struct token_wish *wish)
{
    json_t *claims = json_object();
    if (claims && text_add(claims, "sub", wish->user) && text_add(claims, "jti", wish->id) &&
        text_add(claims, "iss", wish->issuer) && text_add(claims, "aud", wish->audience) &&
        json_object_set_new(claims, "iat", json_integer((json_int_t)wish->issued)) == 0 &&
        (wish->expires == 0 ||
            json_object_set_new(claims, "exp", json_integer((json_int_t)wish->expires)) == 0) &&
        hermes_add(claims, wish))
        return claims;
    json_decref(claims);
    return NULL;
}

static json_t *header_make(const struct auth_alg *alg, const char *name)
{
    json_t *header = json_object();
    if (header && text_add(header, "alg", alg->name) && text_add(header, "typ", "JWT") &&
        text_add(header, "kid", name))
        return header;
    json_decref(header);
    return NULL;
}

/* Appends the text. Not by json_dumps: without memory that leaves out a piece and says nothing. */
static bool json_append(struct buf *out, const json_t *json, size_t flags)
{
    size_t len = json_dumpb(json, NULL, 0, flags);
    if (len == 0 || !buf_reserve(out, len) ||
        json_dumpb(json, out->data + out->len, len, flags) != len)
        return false;
    out->len += len;
    return true;
}

/* Takes the JSON. */
static bool part_append(struct buf *out, json_t *json)
{
    struct buf text = {0};
    bool good = json && json_append(&text, json, JSON_COMPACT);
    if (good)
        base64url_append(out, (unsigned char *)text.data, text.len);
    buf_fini(&text);
    json_decref(json);
    return good && !out->failed;
}

static const char *sign(const struct token_key *key, const struct auth_alg *alg, struct text text,
    unsigned char signature[SIGNATURE_MAX], size_t *len)
{
    struct signer s;
    unsigned char digest[MBEDTLS_MD_MAX_SIZE];
    unsigned char raw[CURVE_SIGNATURE_MAX];
    const mbedtls_md_info_t *md = mbedtls_md_info_from_type(alg->digest);
    const unsigned char *bytes = (const unsigned char *)text.at;
    size_t size = mbedtls_md_get_size(md);
    if (alg->kind == AUTH_SECRET) {
        *len = size;
        return mbedtls_md_hmac(md, key->bytes.at, key->bytes.len, bytes, text.len, signature)
                   ? "It cannot be signed."
                   : NULL;
    }
    int error = signer_init(&s, &key->bytes);
    if (!error)
        error = mbedtls_md(md, bytes, text.len, digest);
    if (!error)
        error = signer_sign(&s, alg->digest, digest, size, signature, len);
    signer_fini(&s);
    if (!error && alg->kind != AUTH_RSA) {
        if (!curve_signature_from_der(alg->kind, signature, *len, raw))
            return "It cannot be signed.";
        *len = 2 * auth_curve_bytes(alg->kind);
        memcpy(signature, raw, *len);
    }
    return error ? "It cannot be signed." : NULL;
}

const char *token_make(const struct token_key *key, const struct token_wish *wish, struct buf *out)
{
    unsigned char signature[SIGNATURE_MAX];
    size_t len;
    size_t start = out->len;
    const struct auth_alg *alg = wish->alg ? wish->alg : auth_alg_of(key->kind);
    if (alg->kind != key->kind)
        return "The algorithm is none for this key.";
    if (!part_append(out, header_make(alg, wish->name)))
        return "It is not UTF-8, or there is no memory for it.";
    buf_append_char(out, '.');
    if (!part_append(out, claims_make(wish)))
        return "It is not UTF-8, or there is no memory for it.";
    const char *fault =
        sign(key, alg, (struct text){out->data + start, out->len - start}, signature, &len);
    if (fault)
        return fault;
    buf_append_char(out, '.');
    base64url_append(out, signature, len);
    if (out->failed)
        return "There is no memory for it.";
    return out->len - start > AUTH_TOKEN_MAX
               ? "It would be longer than 8192 bytes, which no server "
                 "takes: give it fewer or shorter patterns."
               : NULL;
}

/* --- a look into one -------------------------------------------------------------------------- */

/* Like auth_json_read, but numbers stay as they are, and anything goes. */
static json_t *part_read(struct text part)
{
    unsigned char bytes[BASE64URL_BYTES(AUTH_TOKEN_MAX)];
    size_t len;
    if (!base64url_decode(part, bytes, &len))
        return NULL;
    return json_loadb((char *)bytes, len, JSON_DECODE_ANY, NULL);
}

enum auth_result token_show(struct text token, struct buf *out, double *expires)
{
    *expires = TOKEN_NO_EXPIRY;
    const char *first = token.len ? memchr(token.at, '.', token.len) : NULL;
    const char *end = token.at + token.len;
    const char *second = first ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
    if (token.len > AUTH_TOKEN_MAX || !second)
        return AUTH_MALFORMED;
    json_t *header = part_read((struct text){token.at, (size_t)(first - token.at)});
    json_t *claims = part_read((struct text){first + 1, (size_t)(second - first - 1)});
    enum auth_result result = AUTH_MALFORMED;
    const json_t *time = json_object_get(claims, "exp");
    if (json_is_number(time) && json_number_value(time) >= 0)
        *expires = json_number_value(time);
    if (header && claims) {
        json_t *both = json_pack("{s:O,s:O}", "header", header, "claims", claims);
        result = both && json_append(out, both, JSON_INDENT(2)) ? AUTH_OK : AUTH_NO_MEMORY;
        json_decref(both);
    }
    json_decref(header);
    json_decref(claims);
    return result;
}
