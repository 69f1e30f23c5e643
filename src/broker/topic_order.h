/* The topics of one stripe in name order: a treap through the topics themselves.
 *
 * Memory: none of its own. A topic's priority is its keyed hash, so strangers cannot unbalance it.
 * Threads: under the stripe. */
#ifndef HERMES_BROKER_TOPIC_ORDER_H
#define HERMES_BROKER_TOPIC_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

struct order_node {
    struct order_node *left;
    struct order_node *right;
};

struct topic_order {
    struct order_node *root;
    /* The name and the priority of a node, given by whoever embeds it. */
    struct text (*name)(const struct order_node *node, const void *user);
    uint64_t (*priority)(const struct order_node *node);
    const void *user;
};

/* Adds one whose name is not there yet. */
void topic_order_add(struct topic_order *o, struct order_node *node);

/* Removes one that is there. */
void topic_order_remove(struct topic_order *o, struct order_node *node);

/* The first one whose name comes after `name`, or is it when `inclusive`; NULL for none. O(log n).
 */
struct order_node *topic_order_after(
    const struct topic_order *o, struct text name, bool inclusive);

#endif
