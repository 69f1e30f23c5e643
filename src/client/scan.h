/* Reading one JSON text piece by piece, without changing it, until it turns out to be something
 * else than was looked for. */
#ifndef HERMES_CLIENT_SCAN_H
#define HERMES_CLIENT_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

/* Once something was not there, `at` is NULL and nothing more is found. */
struct scan {
    const char *at;
    const char *end;
};

/* Passes one punctuation mark, and white space before it. */
bool scan_mark(struct scan *s, char mark);

/* Passes the object key `name` (written without escapes) and the colon behind it. */
bool scan_key(struct scan *s, const char *name);

/* Passes one value; `raw` is its exact text. */
bool scan_value(struct scan *s, struct text *raw);

/* Passes one string; `raw` is its exact text with the quotes. */
bool scan_string(struct scan *s, struct text *raw);

/* Whether an object comes; and passes its members one by one: both are exact texts, `key` with its
 * quotes. False at the end. For texts that are known to be JSON. */
bool scan_object(struct scan *s);
bool scan_member(struct scan *s, struct text *key, struct text *value);

/* Whether the raw value is digits only, and how much that is; 0 when it is not, or too much. */
bool scan_number(struct text raw, uint64_t *number);

/* Whether nothing but white space is left. */
bool scan_end(struct scan *s);

/* Passes white space; whether `mark` follows. */
bool scan_sees(struct scan *s, char mark);

/* Whether the raw string begins with (`whole`: is) `first` and `second` together, whatever escapes
 * it is written with. */
bool scan_string_is(struct text raw, struct text first, struct text second, bool whole);

#endif
