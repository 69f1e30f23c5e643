/* The topics with the highest marks of all that are offered: a heap of so many.
 *
 * Memory: as many names as it holds, copied; whoever is pushed out is freed.
 * Threads: one. */
#ifndef HERMES_BROKER_TOPIC_TOP_H
#define HERMES_BROKER_TOPIC_TOP_H

#include "broker/topic_scan.h"

struct top_row {
    double mark;
    struct scan_row topic; /* its name is the row's own */
};

struct topic_top {
    struct top_row *rows; /* a heap, the last in the order first; in order after topic_top_sort */
    size_t count;
    size_t most;
};

/* False when there is no memory. `most`: 1 or more. */
bool topic_top_init(struct topic_top *top, size_t most);
void topic_top_fini(struct topic_top *top);

/* False when there is no memory. */
bool topic_top_offer(struct topic_top *top, const struct scan_row *topic, double mark);

/* The highest mark first, those of one mark by name. Nothing may be offered after that. */
void topic_top_sort(struct topic_top *top);

#endif
