#include "auth/jwt.h"

#include <string.h>

#include "auth/base64url.h"
#include "auth/json.h"
#include "auth/verifier.h"

static enum auth_result header_read(struct jwt *jwt, struct text header)
{
    static const char *const refused[] = {"crit", "jwk", "jku", "x5c", "x5u"};
    unsigned char json[BASE64URL_BYTES(AUTH_TOKEN_MAX)];
    size_t len;
    if (!base64url_decode(header, json, &len))
        return AUTH_MALFORMED;
    enum auth_result result = auth_json_read((struct text){(char *)json, len}, &jwt->header);
    if (result != AUTH_OK)
        return result;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (json_object_get(jwt->header, refused[i]))
            return AUTH_MALFORMED;
    const json_t *alg = json_object_get(jwt->header, "alg");
    const json_t *name = json_object_get(jwt->header, "kid");
    if (!json_is_string(alg) || (name && !json_is_string(name)))
        return AUTH_MALFORMED;
    jwt->alg = auth_alg_find((struct text){json_string_value(alg), json_string_length(alg)});
    jwt->name = (struct text){json_string_value(name), json_string_length(name)};
    return AUTH_OK;
}

enum auth_result jwt_read(struct jwt *jwt, struct text token)
{
    *jwt = (struct jwt){0};
    if (token.len == 0 || token.len > AUTH_TOKEN_MAX)
        return AUTH_MALFORMED;
    const char *end = token.at + token.len;
    const char *first = memchr(token.at, '.', token.len);
    const char *second = first ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
    if (!second || memchr(second + 1, '.', (size_t)(end - second - 1)))
        return AUTH_MALFORMED;
    jwt->signed_part = (struct text){token.at, (size_t)(second - token.at)};
    jwt->payload = (struct text){first + 1, (size_t)(second - first - 1)};
    jwt->signature = (struct text){second + 1, (size_t)(end - second - 1)};
    return header_read(jwt, (struct text){token.at, (size_t)(first - token.at)});
}

void jwt_fini(struct jwt *jwt)
{
    json_decref(jwt->header);
    jwt->header = NULL;
}
