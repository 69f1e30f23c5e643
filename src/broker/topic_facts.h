/* All that is known of one topic by its name, for whoever only looks. */
#ifndef HERMES_BROKER_TOPIC_FACTS_H
#define HERMES_BROKER_TOPIC_FACTS_H

#include "broker/route.h"

struct topic_facts {
    bool active; /* or there is no such topic, and nothing else is set */
    uint64_t epoch;
    uint64_t offset;
    uint32_t subscribers; /* by name and by pattern */
    bool keeps;           /* it has a history, even if an empty one: */
    uint32_t messages;
    uint64_t bytes;            /* of their data */
    uint64_t first;            /* the oldest one's offset; 0: it is empty */
    struct match_set *matches; /* the patterns, with a reference, or NULL */
};

/* False when there is no memory. Takes PATTERNS and the topic's STRIPE. */
bool topic_facts_take(
    struct topic_facts *facts, struct route *r, struct route_rule rule, struct text topic);
void topic_facts_fini(struct topic_facts *facts);

#endif
