/* One publish's way to the workers, and what keeps subscribing exact beside it.
 *
 * Order: a topic's messages are numbered and posted to all interested workers in one critical
 *   section, the publisher's own worker through its mailbox like any other (guarantees 1 and 2).
 * Threads: any. Lock: takes a STRIPE, and mailboxes under it. */
#ifndef HERMES_BROKER_ROUTE_H
#define HERMES_BROKER_ROUTE_H

#include "broker/message.h"
#include "broker/registry.h"
#include "loop/mailbox.h"

struct route {
    struct registry registry;
    struct mailbox **boxes; /* of worker 0 to workers-1 */
    size_t crowded;         /* bytes in a mailbox from which on publishers have to wait */
};

struct route_result {
    uint64_t offset;      /* of the last message; 0 when nobody subscribes */
    uint32_t subscribers; /* it goes to */
    int crowded;          /* a worker that lags behind, or -1 */
};

/* Takes the caller's reference on `m`, whose frames are ready and whose other fields this sets. */
struct route_result route_publish(
    struct route *r, uint64_t hash, struct text topic, struct message *m);

/* First step of a subscribe on `worker`: raises its interest and, under the same stripe, moves its
 * mail into `tray`. What is in the tray then was published before the subscribe and must be
 * delivered before the subscriber joins the local topic; all that is posted later is for it too
 * (guarantee 5). NULL when there is no memory. `*made`: the topic is new. */
struct registry_topic *route_subscribe(struct route *r, unsigned worker, struct tray *tray,
    uint64_t hash, struct text topic, bool *made);

/* Last step of an unsubscribe, after the subscriber left the local topic; `last`: nobody is left
 * there. True when the topic is gone altogether; `topic` must not be used any more either way. */
bool route_unsubscribe(struct route *r, unsigned worker, struct registry_topic *topic, bool last);

#endif
