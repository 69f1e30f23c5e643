/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing past U+10FFFF. */
#ifndef HERMES_BASE_UTF8_H
#define HERMES_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a check stands between two pieces of a text: UTF8_START at the start and between two
 * characters, UTF8_REJECT for good once the text cannot become valid any more. */
enum { UTF8_START = 0, UTF8_REJECT = 1 };

/* Goes on with a check over `len` more bytes; returns the new state. Fails at the first byte that
 * no valid text can have there, not only at the end of the piece. */
uint32_t utf8_check(uint32_t state, const void *bytes, size_t len);

/* A whole text at once. */
static inline bool utf8_valid(const void *bytes, size_t len)
{
    return utf8_check(UTF8_START, bytes, len) == UTF8_START;
}

#endif
