/* Checks tokens: JSON Web Tokens in the compact form (RFC 7519, RFC 7515).
 *
 * The key says which algorithms a signature may have, never the token: a secret HS256, HS384 and
 * HS512, an RSA key RS256, RS384 and RS512, a key on P-256, P-384 or P-521 its one of ES256, ES384
 * and ES512 (and a key of a JWK set that has an `alg`, that one alone). A token with a `kid` is
 * checked with the public key of that name or, where none has it, with those that have no name; one
 * without with those that have no name or, where all have one, with the one that its algorithm
 * fits, if it is the only one.
 *
 * What costs, of processor time: HS 4 microseconds, RS256 25, ES256 700, ES512 1700; for a token
 * that is remembered (auth/cache.h; those of public keys that held are) 1 or 2. A forged one costs
 * as much as a good one and is not remembered, so let no client try often.
 *
 * Memory: 2 to 8 KiB for each public key, with the sums that mbedTLS keeps; and the cache's.
 * Threads: one, that of its worker: mbedTLS 2.28 keeps sums in its keys, so each worker has its
 * own.
 */
#ifndef HERMES_AUTH_VERIFIER_H
#define HERMES_AUTH_VERIFIER_H

#include <stdint.h>

#include "auth/claims.h"
#include "auth/keys.h"
#include "auth/result.h"
#include "base/text.h"

enum { AUTH_TOKEN_MAX = 8192 }; /* bytes; a longer one is not looked at */

struct verifier;

/* Takes a reference of its own to the keys. NULL when there is no memory. A reload makes a new one;
 * claims that the old one handed out stay valid. */
struct verifier *verifier_new(struct auth_keys *keys);
void verifier_free(struct verifier *v); /* NULL is ignored */

/* AUTH_OK, and `*out` with a reference for the caller (claims_drop); else why the token does not
 * hold, and `*out` is NULL. `now` is in seconds since 1970. */
enum auth_result verifier_check(
    struct verifier *v, struct text token, uint64_t now, struct claims **out);

#endif
