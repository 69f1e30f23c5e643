/* The signature algorithms that tokens may have (RFC 7518, section 3.1), and the kinds of key. */
#ifndef HERMES_AUTH_ALG_H
#define HERMES_AUTH_ALG_H

#include <mbedtls/md.h>
#include <stddef.h>

#include "base/text.h"

enum auth_kind {
    AUTH_SECRET,
    AUTH_RSA,
    AUTH_P256,
    AUTH_P384,
    AUTH_P521,
};

struct auth_alg {
    const char *name;
    enum auth_kind kind;
    mbedtls_md_type_t digest;
};

/* NULL: there is none of that name. `none` is none. */
const struct auth_alg *auth_alg_find(struct text name);

/* The first one of a kind: what a new token gets unless told otherwise. */
const struct auth_alg *auth_alg_of(enum auth_kind kind);

/* The bytes of a coordinate on the curve, of which a signature has two; 0: the kind has no curve.
 */
size_t auth_curve_bytes(enum auth_kind kind);

#endif
