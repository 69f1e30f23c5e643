/* Whether the registry still says what the workers know: which of them want a topic's messages, and
 * how many subscribers there are. It always does; if it ever does not, messages are lost in
 * silence, so each worker goes through all topics at a slow pace, and what is wrong is counted,
 * logged and put right, and whoever missed messages by it is told: by a gap frame at level 2, by
 * being closed with 1012 else.
 *
 * Exact, though workers do not see each other's tables: what the registry holds of a worker is
 * only ever changed by that worker, which does so together with its own table, in one callback. So
 * between two callbacks, under the stripe, a worker's interest has to agree with its table. The
 * number of subscribers is the sum over the workers: each adds its own to `counted`, one after the
 * other in the order of their numbers, and whoever joins or leaves meanwhile makes the topic's sum
 * begin anew.
 * Order: never from within a join, a leave or a delivery.
 * Threads: the worker's. */
#ifndef HERMES_SESSION_AUDIT_H
#define HERMES_SESSION_AUDIT_H

#include <stdbool.h>

struct worker;

/* Goes through the topics, again and again, until there are no subscriptions here any more. */
void worker_audit(struct worker *w);

/* The next slice. True when it was the last one of a round. */
bool worker_audit_slice(struct worker *w);

#endif
