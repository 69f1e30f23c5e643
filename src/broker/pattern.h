/* Patterns: which topics one stands for.
 *
 * Segments are separated by `:`. A segment `*` stands for exactly one segment (an empty one too), a
 * last segment `>` for one or more; every other segment stands for itself. */
#ifndef HERMES_BROKER_PATTERN_H
#define HERMES_BROKER_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* NULL when it may be used, else a sentence for the person who chose it, static: not a name as
 * topics have them (broker/topic_name.h), `>` before the end, or `*` or `>` beside other characters
 * in a segment. `max` is in bytes; 0 is no limit. */
const char *pattern_fault(struct text pattern, size_t max);

bool pattern_matches(struct text pattern, struct text topic);

#endif
