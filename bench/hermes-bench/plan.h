/* Who publishes and who subscribes what. Made before the run, only read during it.
 *
 * A stream is what one publisher publishes to one topic: the unit that is numbered and checked. The
 * streams of a publisher follow each other, and so do the publishers of a topic; a topic with
 * several has one stream of each.
 * Ownership: a plan owns its arrays. Threads: any, once it is made. */
#ifndef HERMES_BENCH_PLAN_H
#define HERMES_BENCH_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct plan_topic {
    uint32_t first_stream, streams, subscribers;
};

struct plan_stream {
    uint32_t topic, publisher;
};

struct plan_publisher {
    uint32_t first_stream, streams;
};

struct plan_subscriber {
    size_t first;   /* of plan.subscriptions */
    uint32_t count; /* ascending topics */
    bool stalls;    /* stops to read during the measurement */
    bool roves;     /* leaves and comes back during the run */
};

struct plan {
    struct plan_topic *topics;
    struct plan_stream *streams;
    struct plan_publisher *publishers;
    struct plan_subscriber *subscribers;
    uint32_t *subscriptions; /* topics */
    size_t topic_count, stream_count, publisher_count, subscriber_count, subscription_count;
};

void plan_init(struct plan *plan);
void plan_fini(struct plan *plan);

/* Each adds to what is there. */

/* One topic, all publishers publish it, all subscribers subscribe it. */
void plan_add_fanout(struct plan *plan, uint32_t subscribers, uint32_t publishers);

/* `each` topics at random for every subscriber, dealt like cards, so that all topics have nearly
 * the same number of subscribers; each topic has one publisher. `each` is at most `topics`, and
 * subscribers times `each` at least `topics`: then every topic has a subscriber. */
void plan_add_topics(struct plan *plan, uint32_t topics, uint32_t subscribers, uint32_t each,
    uint32_t publishers, uint64_t seed);

/* Each publisher has one subscriber, on a topic of their own. */
void plan_add_pairs(struct plan *plan, uint32_t pairs);

/* Lets that share of the subscribers stall, spread evenly. */
void plan_stall(struct plan *plan, double share);

/* Subscribers of the first topic that come and go. */
void plan_add_rovers(struct plan *plan, uint32_t count);

/* Deliveries that one message of each stream makes. */
uint64_t plan_deliveries(const struct plan *plan);

#endif
