/* A topic that is looked for, with the patterns that match it: what all ways through the registry
 * begin with.
 *
 * Order: search_begin (or search_plain), then under the stripe what has to be done, search_end.
 * Lock: the topic's STRIPE, from the one to the other. */
#ifndef HERMES_BROKER_SEARCH_H
#define HERMES_BROKER_SEARCH_H

#include "broker/route.h"

struct search {
    struct route *route;
    struct route_rule rule;
    uint64_t hash;
    struct text name;
    struct stripe *stripe;
    struct registry_topic *topic; /* NULL: not there */
    struct match_set *fresh;      /* just asked for, with a reference; NULL: none match */
    uint64_t generation;          /* of `fresh`; 0: not asked */
};

/* Takes the stripe and finds the topic, if it is there, with the patterns that match it. False (and
 * the stripe not taken) when there is no memory. */
bool search_begin(struct search *s);

/* The same without the patterns. */
void search_plain(struct search *s);

void search_end(struct search *s);

/* Makes the topic, which was not there. False when there is no memory. */
bool search_make(struct search *s);

/* Lets the topic keep the patterns that were asked for. */
void search_keep(struct search *s);

/* The patterns that a message to the topic goes to, borrowed, or NULL. */
struct match_set *search_matches(const struct search *s);

/* Makes what is kept of the topic what the rules say, unless somebody had newer rules. */
void search_apply_rule(struct search *s);

/* The workers interested, 64 of them. */
static inline uint64_t search_interest(
    const struct search *s, const struct match_set *matches, size_t word)
{
    return (s->topic ? s->topic->workers[word] : 0) | (matches ? matches->workers[word] : 0);
}

#endif
