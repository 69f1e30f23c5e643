/* From which web pages a browser may connect: the origins that WS_ALLOWED_ORIGINS names.
 *
 * A browser says truthfully on whose behalf it connects, so that pages of strangers cannot use what
 * their visitors are allowed to. Anything else may say what it likes: this keeps out pages, not
 * programs.
 * Ownership: whoever holds the struct; origins_fini frees the entries.
 * Threads: any, once it is parsed. */
#ifndef HERMES_PROTO_ORIGINS_H
#define HERMES_PROTO_ORIGINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

enum origins_fault { ORIGINS_OK, ORIGINS_INVALID, ORIGINS_NO_MEMORY };

struct origin {
    struct text scheme;
    struct text host; /* of a wildcard what stands behind the '*', with its dot in front */
    uint16_t port;    /* the scheme's own where it is not written; 0: it has none */
    bool wildcard;
};

struct origins {
    bool all;
    bool null; /* pages without an origin: files, sandboxed frames */
    struct origin *entries;
    size_t count;
    char *string; /* what the entries' texts point into */
};

/* Parses a comma-separated list of `*` (all), `null`, and origins such as `https://example.com` and
 * `https://example.com:8443`, whose host may begin with `*.`: any host below that one, but not that
 * one itself. ORIGINS_INVALID: `*wrong` is the entry that is none of these, empty for an empty
 * list; it points into `string`. Nothing is left to free but after ORIGINS_OK. */
enum origins_fault origins_parse(struct origins *o, const char *string, struct text *wrong);
void origins_fini(struct origins *o);

/* Whether a request with that Origin header may go on. `at` NULL: it has none, so it is not from a
 * browser. Scheme and host are compared without regard to case, a default port may be written or
 * not. */
bool origins_allow(const struct origins *o, struct text origin);

#endif
