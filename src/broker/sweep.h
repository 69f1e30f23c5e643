/* What time takes away: messages too old to be kept, limits that are not the rules' any more, and
 * topics that nobody subscribes by name.
 *
 * A topic that only patterns keep cannot go with its last subscriber, for nobody counts those. It
 * goes when it has been quiet for long, or, where there are many of its kind, as soon as others
 * come: its offsets start anew then. */
#ifndef HERMES_BROKER_SWEEP_H
#define HERMES_BROKER_SWEEP_H

#include "broker/route.h"

/* From so many topics in a stripe that nobody subscribes by name, a new one makes others go. */
enum { SWEEP_CROWDED = 256, SWEEP_FOR_NEW = 8 };

/* A slice of one stripe. True when there may be something to come back for. */
bool route_sweep(struct route *r, const struct rules *rules, unsigned stripe);

/* Looks at the next `most` topics of a stripe (SWEEP_CROWDED at most), and lets those go that
 * nobody subscribes by name, that keep nothing and that had no message for `quiet` looks. */
void sweep_transients(struct registry *r, struct stripe *stripe, unsigned most, uint32_t quiet)
    REQUIRES(stripe->lock);

#endif
