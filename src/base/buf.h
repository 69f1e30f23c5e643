/* A growable run of bytes.
 *
 * Ownership: whoever holds the struct; buf_fini frees the bytes.
 * Memory: an append that cannot allocate sets `failed` and changes nothing else; further appends
 *   are ignored, so that a writer appends all it has and asks once, at the end. */
#ifndef HERMES_BASE_BUF_H
#define HERMES_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

struct buf {
    char *data;
    size_t len;
    size_t cap;
    bool failed;
};

/* An empty buffer needs no memory: `struct buf b = {0}` is one too. */
void buf_init(struct buf *b);
void buf_fini(struct buf *b);

/* Room for `more` bytes behind `len`; false (and `failed`) when there is no memory. */
bool buf_reserve(struct buf *b, size_t more);
void buf_append(struct buf *b, const void *bytes, size_t len);
void buf_append_text(struct buf *b, struct text t);
void buf_append_string(struct buf *b, const char *string);
void buf_append_char(struct buf *b, char c);
void buf_append_number(struct buf *b, unsigned long long n);
void buf_appendf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Empties it and keeps the memory. */
void buf_clear(struct buf *b);

static inline struct text buf_text(const struct buf *b)
{
    return (struct text){b->data, b->len};
}

#endif
