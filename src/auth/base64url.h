/* base64url without padding, as tokens have it (RFC 7515, section 2): one text for each run of
 * bytes, and no other is taken for it. */
#ifndef HERMES_AUTH_BASE64URL_H
#define HERMES_AUTH_BASE64URL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/text.h"

/* The most bytes that so many characters stand for. */
#define BASE64URL_BYTES(characters) ((characters) / 4 * 3 + 2)

/* Decodes into `bytes`, which has room for BASE64URL_BYTES(text.len). False: padding, a character
 * of another alphabet, a length that cannot be, or bits set behind the last byte. */
bool base64url_decode(struct text text, unsigned char *bytes, size_t *len);

void base64url_append(struct buf *out, const unsigned char *bytes, size_t len);

#endif
