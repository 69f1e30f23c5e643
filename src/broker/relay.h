/* The registry's side of far topics: what was numbered elsewhere goes the same way from here on as
 * what route_publish numbers.
 *
 * Threads: the cluster thread's. Lock: as broker/route.h. */
#ifndef HERMES_BROKER_RELAY_H
#define HERMES_BROKER_RELAY_H

#include "broker/route.h"

enum relay_result {
    RELAY_DONE,
    RELAY_KNOWN,  /* the topic is further already */
    RELAY_NOBODY, /* nobody here wants it */
    RELAY_HOLE,   /* there are messages before it that have not come, or it is of another epoch;
                   * nothing was done. Only where the topic is live */
    RELAY_NO_MEMORY,
};

struct relayed {
    enum relay_result result;
    bool live;
    uint64_t epoch;  /* the topic's, before this; 0: it was not there */
    uint64_t offset; /* of its newest message before this */
    int crowded;     /* a worker that lags behind, or -1 */
};

/* Posts messages that have their numbers: `m` from m->offset on, of that epoch. Does not take the
 * caller's reference. Of a row that is known in part the rest is posted. Where the topic is not
 * live (only patterns match it) it jumps to wherever the message is. */
struct relayed route_relay(struct route *r, struct route_rule rule, uint64_t hash,
    struct text topic, uint64_t epoch, struct message *m);

/* Makes the topic live, at that position, or further on where patterns have had it in that epoch
 * already. Nothing before that position may still be on its way to the patterns. False when there
 * is no memory. */
bool route_follow(struct route *r, struct route_rule rule, uint64_t hash, struct text topic,
    uint64_t epoch, uint64_t offset);

/* Whether anybody subscribes to a live topic by its name; where nobody does and `end`, it is live
 * no longer. */
bool route_unfollow(struct route *r, uint64_t hash, struct text topic, bool end);

/* Where a live topic has come to. False: it is not live. */
struct relay_place {
    uint64_t epoch;
    uint64_t offset;
    uint32_t subscribers;
};
bool route_place(struct route *r, uint64_t hash, struct text topic, struct relay_place *place);

/* Sets a live topic to another position, with nothing of its past. */
void route_renumber(
    struct route *r, uint64_t hash, struct text topic, uint64_t epoch, uint64_t offset);

/* Posts a notice (a message with a `count` of 0 and an `event`) to all subscribers of a topic, and
 * of every pattern that matches it. Takes no reference. False when there is no memory. */
bool route_tell(struct route *r, uint64_t hash, struct text topic, struct message *m);

#endif
