/* The active topics in name order, a page at a time.
 *
 * Memory: a page's names, copied.
 * Threads: any. Lock: takes each STRIPE once, for as long as its own topics take to look at. */
#ifndef HERMES_BROKER_TOPIC_LIST_H
#define HERMES_BROKER_TOPIC_LIST_H

#include "broker/registry.h"

struct topic_row {
    struct text name;
    uint32_t subscribers;
};

struct topic_list {
    struct topic_row *rows;
    size_t count;
    bool more;   /* topics follow behind the last row */
    size_t seen; /* topics that were looked at for it */
};

/* Up to `limit` topics whose name starts with `prefix` and comes after `after` (empty: from the
 * first). False when there is no memory. */
bool topic_list_take(struct topic_list *list, struct registry *r, struct text prefix,
    struct text after, size_t limit);

void topic_list_fini(struct topic_list *list);

#endif
