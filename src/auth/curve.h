/* Points and signatures of elliptic curves, as tokens and as mbedTLS have them. */
#ifndef HERMES_AUTH_CURVE_H
#define HERMES_AUTH_CURVE_H

#include <stdbool.h>
#include <stddef.h>

#include "auth/alg.h"
#include "base/text.h"

enum {
    CURVE_POINT_MAX = 1 + 2 * 66,
    CURVE_DER_MAX = 32 + CURVE_POINT_MAX, /* a SubjectPublicKeyInfo */
    CURVE_SIGNATURE_MAX = 2 * 66,
    CURVE_SIGNATURE_DER_MAX = 9 + 2 * (66 + 1),
};

/* What a SubjectPublicKeyInfo with an uncompressed point begins with, up to that point's first
 * coordinate. */
struct text curve_der_head(enum auth_kind kind);

/* The two numbers of a signature, one behind the other in `raw` (auth_curve_bytes each), as DER;
 * the length of it. */
size_t curve_signature_to_der(
    enum auth_kind kind, const unsigned char *raw, unsigned char der[CURVE_SIGNATURE_DER_MAX]);

/* And back; false: it is no such DER, or the numbers are too large. */
bool curve_signature_from_der(
    enum auth_kind kind, const unsigned char *der, size_t len, unsigned char *raw);

#endif
