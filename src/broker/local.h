/* One worker's side of the topics and the patterns: who subscribes here, and to what.
 *
 * A pattern that somebody here subscribes to is a local topic like any other; it has a struct
 * pattern where a topic has its struct registry_topic.
 *
 * A subscription is one entry on either side, each knowing the place of the other, so that joining,
 * leaving and the end of a subscriber with many topics cost O(1) a subscription.
 * Memory: one subscription of a subscriber and one subscriber of a topic lie inline.
 * Threads: the worker's only. */
#ifndef HERMES_BROKER_LOCAL_H
#define HERMES_BROKER_LOCAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "base/slab.h"
#include "broker/patterns.h"
#include "broker/registry.h"
#include "broker/rules.h"

struct local_topic;

/* A subscriber's half of a subscription. */
struct subscription {
    struct local_topic *topic; /* NULL: a free slot */
    uint32_t place;            /* in the topic's places */
    uint8_t policy;            /* enum policy */
    bool watches;              /* is told of joins and leaves */
};

/* Whoever can subscribe; part of the caller's own struct. Up to SUBSCRIBER_LINEAR subscriptions lie
 * in a row; more are a hash table by topic, so that "subscribed already?" stays O(1). */
struct subscriber {
    union {
        struct subscription one;
        struct subscription *many;
    };
    uint32_t count;
    uint32_t cap; /* 1: inline */
};

/* A topic's half of a subscription. */
struct place {
    struct subscriber *subscriber;
    uint32_t slot; /* in the subscriber's subscriptions */
};

struct local_topic {
    union {
        struct registry_topic *registered;
        struct pattern *pattern;
        const void *key; /* either of them */
    };
    uint64_t hash;
    uint64_t delivered; /* offset of the newest message that has been given here; not by patterns */
    union {
        struct place one;
        struct place *many;
    };
    uint32_t count;
    uint32_t cap;           /* 1: inline */
    uint32_t plain;         /* the first so many places are of level 1, the others of level 2: */
    uint32_t serial;        /* no two that have been here lately share hash and serial */
    uint64_t events : 21;   /* the next so many get server-sent events, */
    uint64_t watchers : 21; /* and the last so many are told of joins and leaves */
    uint64_t lenient : 21;  /* subscriptions whose policy is not to disconnect */
    uint64_t is_pattern : 1;
};
_Static_assert(sizeof(struct local_topic) == 64, "one cache line, as the slab lays them out");

/* LOCAL_MOST: subscribers of one topic on one worker, while any of them is of level 2. */

/* What a local topic is made for. */
struct local_key {
    uint64_t hash;
    void *key; /* struct registry_topic or struct pattern */
    bool is_pattern;
};

enum { LOCAL_PARTS = 64, LOCAL_MOST = (1 << 21) - 1 };

/* In parts, so that a table of a million topics never grows in one piece. */
struct local_topics {
    struct map parts[LOCAL_PARTS];
    struct slab topics;
    uint32_t serial;
};

void local_init(struct local_topics *l);
void local_fini(struct local_topics *l);

/* The topic or pattern with subscribers here, or NULL. */
struct local_topic *local_find(const struct local_topics *l, uint64_t hash, const void *key);

/* The same by name, for who does not hold the registry's topic. */
struct local_topic *local_find_named(
    const struct local_topics *l, const struct registry *r, uint64_t hash, struct text name);

/* The same for a pattern. */
struct local_topic *local_find_pattern(
    const struct local_topics *l, const struct patterns *p, uint64_t hash, struct text text);

static inline struct place *local_places(struct local_topic *topic)
{
    return topic->cap == 1 ? &topic->one : topic->many;
}

void subscriber_init(struct subscriber *s);

/* The subscription to that topic, or NULL. */
struct subscription *subscriber_find(struct subscriber *s, const struct local_topic *topic);

/* The same for who only remembers a topic that may be gone. */
struct subscription *subscriber_find_by(struct subscriber *s, uint64_t hash, uint32_t serial);

/* All of its subscriptions, one after the other, NULL at the end; `*at` begins as 0. None may come
 * or go meanwhile. */
struct subscription *subscriber_next(struct subscriber *s, uint32_t *at);

/* Any one of its subscriptions, or NULL when it has none left. */
struct local_topic *subscriber_any(struct subscriber *s);

/* How a subscription is made. */
struct join {
    bool enveloped; /* level 2 */
    enum policy policy;
    bool watches;
    uint64_t delivered; /* offset of the newest message before it */
    bool events;        /* of level 2, by server-sent events: watches nothing */
};

/* Adds a subscription that is not there yet, with the local topic if that is new; false (and
 * nothing changed) when there is no memory. */
bool local_join(
    struct local_topics *l, struct local_key key, struct subscriber *s, struct join join);

/* Changes a subscription that is there; only one of level 2 may watch. */
void local_change(struct subscription *subscription, enum policy policy, bool watches);

/* Takes a subscription out; true when it was the topic's last here, and the local topic is gone. */
bool local_leave(struct local_topics *l, struct local_topic *topic, struct subscriber *s);

#endif
