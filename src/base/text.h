/* A borrowed run of bytes: a pointer and a length, never terminated, never owned. */
#ifndef HERMES_BASE_TEXT_H
#define HERMES_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct text {
    const char *at;
    size_t len;
};

/* The text of a string literal. */
#define TEXT(literal) ((struct text){(literal), sizeof(literal) - 1})

static inline struct text text_of(const char *string)
{
    return (struct text){string, strlen(string)};
}

static inline bool text_equal(struct text a, struct text b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* Byte order, the shorter first: the order in which topics are listed. */
static inline int text_compare(struct text a, struct text b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared ? memcmp(a.at, b.at, shared) : 0;
    if (order != 0)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

static inline bool text_starts_with(struct text whole, struct text prefix)
{
    return whole.len >= prefix.len &&
           (prefix.len == 0 || memcmp(whole.at, prefix.at, prefix.len) == 0);
}

#endif
