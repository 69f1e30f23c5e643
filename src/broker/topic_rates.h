/* How many messages a second each topic has: its offset now and a while ago.
 *
 * Order: topic_rates_begin, topic_rates_take for each step of one topic_scan of all topics,
 *   topic_rates_end; and so on, some time apart. With the second round rates are known; that of a
 *   topic with the second round that it is in.
 * Memory: 24 bytes a slot, and up to twice as many slots as topics; RATES_MOST topics, others have
 *   no rate. Nothing before the first round and behind topic_rates_forget.
 * Threads: one. */
#ifndef HERMES_BROKER_TOPIC_RATES_H
#define HERMES_BROKER_TOPIC_RATES_H

#include "broker/topic_scan.h"

enum { RATES_MOST = 1 << 20 };

struct topic_rate {
    uint64_t epoch; /* of a topic, which no other has; 0: free */
    uint64_t offset;
    float rate;     /* less than 0: not known */
    uint32_t round; /* that it was there in */
};

struct topic_rates {
    struct topic_rate *slots;
    size_t mask; /* slots - 1 */
    size_t count;
    size_t here; /* of them in the round that is under way */
    uint32_t rounds;
    uint64_t seen_ns[REGISTRY_STRIPES]; /* when the stripe was last gone through */
    uint64_t now_ns;                    /* of the stripe that is being gone through */
    unsigned stripe;
};

void topic_rates_init(struct topic_rates *r);

/* It is as at the start again. */
void topic_rates_forget(struct topic_rates *r);

void topic_rates_begin(struct topic_rates *r);
void topic_rates_take(struct topic_rates *r, const struct topic_scan *scan, uint64_t now_ns);

/* Not for a scan that failed: topic_rates_forget. */
void topic_rates_end(struct topic_rates *r);

/* Whether rates are known at all. */
static inline bool topic_rates_known(const struct topic_rates *r)
{
    return r->rounds >= 2;
}

/* The rate of the topic with that epoch as of the last rounds; less than 0: not known. */
double topic_rates_find(const struct topic_rates *r, uint64_t epoch);

#endif
