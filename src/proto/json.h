/* A strict RFC 8259 scanner that validates one JSON text and hands out exact spans of it.
 *
 * Memory: none. It accepts numbers of any size, \u0000, and lone surrogate escapes (the grammar has
 *   them), and nests up to JSON_DEPTH_MAX. The input must be UTF-8 already (the framing checks).
 *   Nothing at `end` or behind it is ever read. */
#ifndef HERMES_PROTO_JSON_H
#define HERMES_PROTO_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/text.h"

enum { JSON_DEPTH_MAX = 512 };

/* The end of the one value that starts at `at` (space before it is skipped), or NULL where there is
 * no valid value. `*start` is set to its first byte. What follows the value is the caller's to
 * judge: of `01` the value is `0`. */
const char *json_value(const char *at, const char *end, const char **start);

/* One value with nothing but space around it. */
bool json_valid(const char *text, size_t len);

const char *json_space_end(const char *at, const char *end);

/* The first byte from `at` on that is not JSON's space, or `end`. */
static inline const char *json_space(const char *at, const char *end)
{
    return at < end && (unsigned char)*at <= ' ' ? json_space_end(at, end) : at;
}

/* The end of a member's `"key" :` that starts at `at`, and of the space behind it: where the value
 * must follow. NULL when it is none. `*key_end` is the byte behind the key's closing quote. */
const char *json_key(const char *at, const char *end, const char **key_end);

/* Decodes the JSON string whose raw form, quotes included, is `raw`, over itself (the decoded form
 * is never longer) and returns it; false when it has a lone surrogate, which UTF-8 cannot hold.
 * `raw` must have been scanned. A string without escapes is not written to. */
bool json_string_decode(char *raw, size_t len, struct text *out);

/* Appends `t` (UTF-8) as a JSON string, quotes included, escaping only what must be: the quote, the
 * backslash, and control characters. */
void json_string_append(struct buf *out, struct text t);

/* The same without the quotes: a piece of a longer string. */
void json_escape_append(struct buf *out, struct text t);

#endif
