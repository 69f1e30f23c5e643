/* Bodies of requests, read by the scanner of proto/json.h: exact spans, nothing is copied.
 *
 * Order: whatever is walked through here has been scanned as a whole before (json_valid). */
#ifndef HERMES_ADMIN_API_JSON_H
#define HERMES_ADMIN_API_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/text.h"

/* A value's first byte tells its kind: '{', '[', '"', 't', 'f', 'n', a digit or '-'. */

/* The value itself, without the space around it. */
struct text json_body(struct text json);

/* What is in an object or an array, one after the other. */
struct json_walk {
    const char *at;
    const char *end;
};
struct json_walk json_walk(struct text value);

/* The next member; false at the end. `*key` is as it stands there, quotes included. */
bool json_walk_member(struct json_walk *w, struct text *key, struct text *value);

/* The next element. */
bool json_walk_element(struct json_walk *w, struct text *value);

/* Whether a key, or any string, is that; `word` has at most 32 bytes of ASCII. */
bool json_is(struct text raw, const char *word);

/* Appends what a string stands for; false when it is none, or holds a lone surrogate, or there is
 * no memory (out->failed). */
bool json_take_string(struct text raw, struct buf *out);

/* A whole number in plain digits up to `most`. */
bool json_take_number(struct text raw, uint64_t most, uint64_t *out);

#endif
