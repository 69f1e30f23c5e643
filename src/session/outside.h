/* What is published from outside of the workers: by the program around the broker, or over HTTP.
 *
 * Order: the messages of one thread keep theirs.
 * Threads: any, from the workers' start until they are freed. */
#ifndef HERMES_SESSION_OUTSIDE_H
#define HERMES_SESSION_OUTSIDE_H

#include "broker/backplane.h"
#include "session/worker.h"

enum outside_result {
    OUTSIDE_PUBLISHED,
    OUTSIDE_FAR,       /* to a far topic: whether it is published is known later */
    OUTSIDE_STOPPED,   /* the workers have ended */
    OUTSIDE_TOO_LARGE, /* data, also by the topic's rule */
    OUTSIDE_BAD_TOPIC,
    OUTSIDE_BAD_DATA, /* no JSON in UTF-8 */
    OUTSIDE_NO_MEMORY,
};

/* Publishes a JSON text byte for byte, as if a client had: same limits, same guarantees, but whom
 * the topic's rule lets publish does not matter. Copies both; returns before the subscribers have
 * it. Does not wait when workers lag behind, see shop_crowded. `*result` is set when it is
 * published, and then the caller counts it. */
enum outside_result shop_publish(
    struct workshop *shop, struct text topic, struct text data, struct route_result *result);

/* The same, but that of a far topic is not sent yet: it is in `*far`, all but its done, home and
 * lost, for the caller to send; the topic has to stay until that is back. What becomes of others
 * nobody is told; the cluster thread counts them all. */
enum outside_result shop_publish_or(struct workshop *shop, struct text topic, struct text data,
    struct route_result *result, struct errand *far);

/* Whether a worker, or the cluster, lags behind so far that who can wait should. */
bool shop_crowded(const struct workshop *shop);

#endif
