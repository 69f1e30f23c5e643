/* Tokens and users that are refused although their signature holds.
 *
 * A JSON file: {"jti": ["id of a token", ...], "sub": ["user", ...]}; either list may be missing.
 * Memory: what the file holds and 16 bytes an entry. */
#ifndef HERMES_AUTH_DENY_H
#define HERMES_AUTH_DENY_H

#include <stdbool.h>
#include <stddef.h>

#include "auth/load.h"
#include "base/text.h"

enum { DENY_FILE_MAX = 16 << 20 };

/* Sorted texts in one block. */
struct deny_list {
    struct text *at;
    size_t count;
};

struct deny {
    struct deny_list ids;   /* jti */
    struct deny_list users; /* sub */
};

/* Reads `source->name`; what is in `d` is empty on a failure. */
enum auth_load deny_read(struct deny *d, const struct auth_source *source);
enum auth_load deny_parse(struct deny *d, const struct auth_source *source, struct text json);
void deny_fini(struct deny *d);

/* An empty text is in no list. */
bool deny_has(const struct deny_list *list, struct text entry);

#endif
