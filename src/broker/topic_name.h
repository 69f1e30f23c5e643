/* Which topic names may be used: UTF-8, from one byte to a limit, no control characters. */
#ifndef HERMES_BROKER_TOPIC_NAME_H
#define HERMES_BROKER_TOPIC_NAME_H

#include <stddef.h>

#include "base/text.h"

/* NULL when the name may be used, else a sentence for the person who chose it, static. `max` is in
 * bytes; 0 is no limit. Control characters are those of Unicode's class Cc: U+0000 to U+001F, and
 * U+007F to U+009F. */
const char *topic_name_fault(struct text name, size_t max);

#endif
