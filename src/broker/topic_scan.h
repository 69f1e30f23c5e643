/* All active topics, whatever there are, a few at a time, in no order: for who ranks or samples
 * them.
 *
 * Order: topic_scan_begin, topic_scan_next until it is false, topic_scan_fini. A topic that is
 *   active all along is given once, all of one stripe one after the other.
 * Memory: the rows of one step, names copied.
 * Threads: any. Lock: takes STRIPES, each for SCAN_LOOK topics at a time. */
#ifndef HERMES_BROKER_TOPIC_SCAN_H
#define HERMES_BROKER_TOPIC_SCAN_H

#include "base/buf.h"
#include "broker/registry.h"

enum { SCAN_LOOK = 64 };

struct scan_row {
    struct text name; /* valid until the next step */
    uint64_t epoch;
    uint64_t offset;
    uint32_t subscribers; /* by name and by pattern */
    bool keeps;
    uint32_t messages; /* in its history */
};

/* The same of one topic, but for its name; false when there is none. */
bool topic_scan_find(struct registry *r, struct text name, struct scan_row *row);

struct topic_scan {
    struct registry *registry;
    struct text prefix;
    unsigned stripe; /* of the rows */
    unsigned next;   /* where the next step looks */
    size_t count;    /* of rows; a step may have none */
    struct scan_row rows[SCAN_LOOK];
    struct buf names;
    struct buf last; /* the last name that was looked at in the stripe; empty: none */
    bool failed;     /* ended for want of memory */
};

/* Topics whose name starts with `prefix`, which must stay where it is. */
void topic_scan_begin(struct topic_scan *scan, struct registry *r, struct text prefix);

/* False: that was all, or `failed`. */
bool topic_scan_next(struct topic_scan *scan);
void topic_scan_fini(struct topic_scan *scan);

#endif
