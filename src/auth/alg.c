#include "auth/alg.h"

static const struct auth_alg algs[] = {
    {"HS256", AUTH_SECRET, MBEDTLS_MD_SHA256},
    {"HS384", AUTH_SECRET, MBEDTLS_MD_SHA384},
    {"HS512", AUTH_SECRET, MBEDTLS_MD_SHA512},
    {"RS256", AUTH_RSA, MBEDTLS_MD_SHA256},
    {"RS384", AUTH_RSA, MBEDTLS_MD_SHA384},
    {"RS512", AUTH_RSA, MBEDTLS_MD_SHA512},
    {"ES256", AUTH_P256, MBEDTLS_MD_SHA256},
    {"ES384", AUTH_P384, MBEDTLS_MD_SHA384},
    {"ES512", AUTH_P521, MBEDTLS_MD_SHA512},
};

const struct auth_alg *auth_alg_find(struct text name)
{
    for (size_t i = 0; i < sizeof algs / sizeof *algs; i++)
        if (text_equal(name, text_of(algs[i].name)))
            return &algs[i];
    return NULL;
}

const struct auth_alg *auth_alg_of(enum auth_kind kind)
{
    const struct auth_alg *alg = algs;
    while (alg->kind != kind)
        alg++;
    return alg;
}

size_t auth_curve_bytes(enum auth_kind kind)
{
    switch (kind) {
    case AUTH_P256:
        return 32;
    case AUTH_P384:
        return 48;
    case AUTH_P521:
        return 66;
    case AUTH_SECRET:
    case AUTH_RSA:
        break;
    }
    return 0;
}
