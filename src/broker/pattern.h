/* Patterns: which topics one stands for.
 *
 * Segments are separated by `:`. A segment `*` stands for exactly one segment (an empty one too), a
 * last segment `>` for one or more; every other segment stands for itself. */
#ifndef HERMES_BROKER_PATTERN_H
#define HERMES_BROKER_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/text.h"

/* NULL when it may be used, else a sentence for the person who chose it, static: not a name as
 * topics have them (broker/topic_name.h), `>` before the end, or `*` or `>` beside other characters
 * in a segment. `max` is in bytes; 0 is no limit. */
const char *pattern_fault(struct text pattern, size_t max);

bool pattern_matches(struct text pattern, struct text topic);

/* Takes the first segment off `rest`, whose `at` is NULL when that was the last one. */
static inline struct text segment_take(struct text *rest)
{
    const char *end = rest->len ? memchr(rest->at, ':', rest->len) : NULL;
    struct text segment = {rest->at, end ? (size_t)(end - rest->at) : rest->len};
    *rest = end ? (struct text){end + 1, rest->len - segment.len - 1} : (struct text){NULL, 0};
    return segment;
}

static inline bool segment_is_star(struct text segment)
{
    return segment.len == 1 && *segment.at == '*';
}

/* Of a good pattern it is the last one. */
static inline bool segment_is_rest(struct text segment)
{
    return segment.len == 1 && *segment.at == '>';
}

#endif
