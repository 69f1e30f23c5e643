/* What is published from outside of the workers: by the program around the broker, or over HTTP.
 *
 * Order: the messages of one thread keep theirs.
 * Threads: any, from the workers' start until they are freed. */
#ifndef HERMES_SESSION_OUTSIDE_H
#define HERMES_SESSION_OUTSIDE_H

#include "session/worker.h"

enum outside_result {
    OUTSIDE_PUBLISHED,
    OUTSIDE_STOPPED,   /* the broker drains */
    OUTSIDE_TOO_LARGE, /* data, also by the topic's rule */
    OUTSIDE_BAD_TOPIC,
    OUTSIDE_BAD_DATA, /* no JSON in UTF-8 */
    OUTSIDE_NO_MEMORY,
};

/* Publishes a JSON text byte for byte, as if a client had: same limits, same guarantees, but whom
 * the topic's rule lets publish does not matter. Copies both; returns before the subscribers have
 * it. Does not wait when workers lag behind, see shop_crowded. `*result` is set when it is
 * published. The caller counts it. */
enum outside_result shop_publish(
    struct workshop *shop, struct text topic, struct text data, struct route_result *result);

/* Whether a worker lags behind so far that who can wait should. */
bool shop_crowded(const struct workshop *shop);

#endif
