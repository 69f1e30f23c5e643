/* The three parts of a token: cut, decoded and looked at, but not verified.
 *
 * Threads: any. */
#ifndef HERMES_AUTH_JWT_H
#define HERMES_AUTH_JWT_H

#include <jansson.h>

#include "auth/alg.h"
#include "auth/result.h"
#include "base/text.h"

struct jwt {
    const struct auth_alg *alg; /* what the header says; NULL: none of ours */
    struct text name;           /* its kid; `at` is NULL: none. Lives as long as `header` */
    json_t *header;             /* NULL after a failure */
    struct text signed_part;    /* what was signed */
    struct text payload;        /* base64url still */
    struct text signature;
};

/* AUTH_OK, AUTH_MALFORMED or AUTH_NO_MEMORY. To be followed by jwt_fini, whatever comes. A header
 * that wants something be understood (`crit`) or brings a key along (`jwk`, `jku`, `x5c`, `x5u`) is
 * malformed. */
enum auth_result jwt_read(struct jwt *jwt, struct text token);
void jwt_fini(struct jwt *jwt);

#endif
