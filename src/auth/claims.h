/* What a token says about its bearer.
 *
 * Memory: one allocation.
 * Ownership: counted; immutable once made.
 * Threads: one at a time; not handed from one to another while it is shared. */
#ifndef HERMES_AUTH_CLAIMS_H
#define HERMES_AUTH_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/keys.h"
#include "auth/result.h"
#include "base/text.h"

enum {
    CLAIMS_USER_MAX = 256, /* bytes */
    CLAIMS_PATTERNS_MAX = 1000,
    CLAIMS_PATTERNS_BYTES_MAX = 65536,
};

#define CLAIMS_NEVER UINT64_MAX

/* Patterns as the token has them, which nobody has checked. */
struct claims_patterns {
    const struct text *at;
    uint32_t count;
    bool limited; /* the token has the list, be it empty; without it, it sets no limit */
};

struct claims {
    uint32_t references;
    bool presence;       /* may ask who is subscribed */
    struct text user;    /* `sub`; empty: none */
    struct text id;      /* `jti`; empty: none */
    uint64_t expires;    /* the first second at which it has, without leeway; CLAIMS_NEVER */
    uint64_t not_before; /* the first second at which it holds; 0 */
    struct claims_patterns subscribe;
    struct claims_patterns publish;
};

/* The payload of a token whose signature holds: AUTH_OK, and `*out` with a reference for the
 * caller; or why it does not hold. `now` is in seconds since 1970, as all times in claims are. */
enum auth_result claims_read(
    const struct auth_keys *keys, struct text json, uint64_t now, struct claims **out);

/* Whether they hold now, of claims that did once: AUTH_OK, AUTH_EXPIRED or AUTH_NOT_YET. */
enum auth_result claims_check_time(
    const struct auth_keys *keys, const struct claims *claims, uint64_t now);

/* Those of a user who has shown who it is by other means, and is limited in nothing; NULL: no
 * memory. */
struct claims *claims_of_user(struct text user);

static inline void claims_hold(struct claims *claims)
{
    claims->references++;
}
void claims_drop(struct claims *claims); /* NULL is ignored */

#endif
