/* The topics of one stripe in name order: a treap through the topics themselves.
 *
 * Memory: none of its own. A topic's priority is its keyed hash, so strangers cannot unbalance it.
 * Threads: under the stripe. */
#ifndef HERMES_BROKER_TOPIC_ORDER_H
#define HERMES_BROKER_TOPIC_ORDER_H

#include <stdbool.h>

#include "base/text.h"

struct registry;
struct registry_topic;

struct order_node {
    struct order_node *left;
    struct order_node *right;
};

struct topic_order {
    struct order_node *root;
};

/* Adds a topic whose name is not there yet. O(log n), like all here. */
void topic_order_add(struct topic_order *o, const struct registry *r, struct registry_topic *topic);

/* Removes one that is there. */
void topic_order_remove(
    struct topic_order *o, const struct registry *r, struct registry_topic *topic);

/* So many nodes of the way back are remembered; what lies further up is searched for again. */
enum { TOPIC_WALK_MOST = 24 };

/* A walk through the topics in name order, for as long as nothing is added or removed. */
struct topic_walk {
    const struct topic_order *order;
    const struct registry *registry;
    unsigned depth;
    bool cut; /* the way was longer */
    const struct order_node *path[TOPIC_WALK_MOST];
};

/* From the first topic whose name comes after `name`, or is it when `inclusive`. */
void topic_walk_begin(struct topic_walk *w, const struct topic_order *o, const struct registry *r,
    struct text name, bool inclusive);

/* The next topic, or NULL. */
const struct registry_topic *topic_walk_next(struct topic_walk *w);

#endif
