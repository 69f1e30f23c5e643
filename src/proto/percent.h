/* Percent-encoded texts: paths and the fields of a query. */
#ifndef HERMES_PROTO_PERCENT_H
#define HERMES_PROTO_PERCENT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/text.h"

/* Decodes %xx (and where `form`, plus as a space) behind what is in `out`; false: it is malformed,
 * or there is no memory (`out->failed`). A decoded zero byte is malformed. */
bool percent_decode(struct buf *out, struct text encoded, bool form);

/* Takes the next name=value off the front of a query, neither decoded; a name alone has an empty
 * value. False when the query is used up. */
bool query_next(struct text *query, struct text *name, struct text *value);

#endif
