/* What is kept of a topic, for who subscribes or asks. */
#ifndef HERMES_BROKER_PAST_H
#define HERMES_BROKER_PAST_H

#include "broker/search.h"

/* A view of what `past` asks for, under the topic's stripe; of more than `most` messages after
 * an offset the first ones. `strict`: nothing at all, rather than less than that. `*recovered`:
 * there is no gap behind what the asker has. */
struct history_view past_view(
    struct search *s, const struct route_past *past, bool strict, uint32_t most, bool *recovered);

#endif
