/* One publish's way to the workers, and what keeps subscribing exact beside it.
 *
 * Order: a topic's messages are numbered, kept and posted to all interested workers in one critical
 *   section, the publisher's own worker through its mailbox like any other (guarantees 1 and 2).
 * Threads: any. Lock: takes PATTERNS, then a STRIPE, and mailboxes under that. */
#ifndef HERMES_BROKER_ROUTE_H
#define HERMES_BROKER_ROUTE_H

#include "broker/message.h"
#include "broker/patterns.h"
#include "broker/registry.h"
#include "broker/rules.h"
#include "loop/mailbox.h"

struct route {
    struct registry registry;
    struct patterns patterns;
    struct mailbox **boxes;    /* of worker 0 to workers-1 */
    struct mailbox *backplane; /* of the cluster thread; NULL: this broker is alone */
    size_t crowded;            /* bytes in a mailbox from which on publishers have to wait */
};

/* What the caller's rules say about a topic. */
struct route_rule {
    const struct rule *rule;
    uint32_t version; /* of those rules */
};

void route_init(struct route *r, unsigned workers, size_t history_bytes);
void route_fini(struct route *r);

struct route_result {
    uint64_t offset;      /* of the last message; 0 when there is no such topic */
    uint64_t epoch;       /* of that; 0 as well */
    uint32_t subscribers; /* subscriptions it goes to, by name and by pattern */
    int crowded;          /* a worker that lags behind, or -1 */
    bool failed;          /* no memory: it goes nowhere */
};

/* Takes the caller's reference on `m`, whose frames are ready and whose other fields but `except`
 * this sets. */
struct route_result route_publish(
    struct route *r, struct route_rule rule, uint64_t hash, struct text topic, struct message *m);

/* Posts a join or a leave (a message with a `count` of 0) to who watches the topic. Takes the
 * reference. */
void route_event(
    struct route *r, struct route_rule rule, uint64_t hash, struct text topic, struct message *m);

/* --- subscribing by topic --------------------------------------------------------------------- */

/* What a new subscriber wants of the past. */
struct route_past {
    bool since;     /* all after this offset, if its epoch is still that */
    uint64_t epoch; /* 0: none that may be */
    uint64_t offset;
    uint32_t newest; /* or so many */
};

struct route_joined {
    struct registry_topic *topic; /* NULL: no memory, or `absent` */
    bool absent;                  /* the topic is far and not live: it has to be followed first */
    bool made;                    /* the topic is new */
    bool recovered;               /* all that was asked for by `since` is in the view */
    uint64_t epoch;
    uint64_t offset; /* of the newest message before the subscribe */
    struct history_view past;
};

/* First step of a subscribe on `worker`: raises its interest and, under the same stripe, moves its
 * mail into `tray`, and takes a view of what is kept. What is in the tray then was published before
 * the subscribe and must be delivered before the subscriber joins the local topic; all that is
 * posted later is for it too (guarantee 5). The view is to be given to history_view_fini. */
struct route_joined route_subscribe(struct route *r, struct route_rule rule, unsigned worker,
    struct tray *tray, uint64_t hash, struct text topic, bool watches,
    const struct route_past *past);

/* Where the topic is, for who subscribes to it already; its mail up to there is in the tray, as
 * after a subscribe. The topic is there. */
struct route_joined route_again(
    struct route *r, unsigned worker, struct tray *tray, uint64_t hash, struct text topic);

/* What comes next of the past, for who takes it piece by piece, and what time makes of it. */
struct piece_limits {
    size_t bytes;
    size_t around; /* what a message takes besides its data */
};
struct route_piece {
    bool last; /* no more than a piece: the worker's mail has been taken as by a subscribe */
    uint64_t epoch;
    uint64_t offset; /* of the newest message */
    struct history_view view;
};

/* The messages from offset `from` on that are still there; the topic is there. The view is to be
 * given to history_view_fini. */
struct route_piece route_piece(struct route *r, struct route_rule rule, unsigned worker,
    struct tray *tray, uint64_t hash, struct text topic, uint64_t from, struct piece_limits limits);

/* Last step of an unsubscribe, after the subscriber left the local topic; `last`: nobody is left
 * there. True when the topic is gone altogether; `topic` must not be used any more either way. */
bool route_unsubscribe(
    struct route *r, unsigned worker, struct registry_topic *topic, bool last, bool watched);

/* A subscriber starts (+1) or stops (-1) watching. */
void route_watch(struct route *r, struct registry_topic *topic, int by);

/* Whether a join or a leave may have to be told to somebody; for who has an interest in the topic.
 */
static inline bool route_watched(const struct route *r, const struct registry_topic *topic)
{
    return patterns_watched(&r->patterns) ||
           atomic_load_explicit(&topic->watchers, memory_order_relaxed) > 0;
}

/* --- looking ---------------------------------------------------------------------------------- */

struct route_state {
    uint64_t epoch; /* 0: there is no such topic */
    uint64_t offset;
    bool keeps; /* it has a history, even if an empty one */
    bool recovered;
    struct history_view past;
};

/* A topic's history. The view is to be given to history_view_fini. */
struct route_state route_history(struct route *r, struct route_rule rule, uint64_t hash,
    struct text topic, const struct route_past *past, uint32_t most);

/* Who gets what is published to a topic. */
struct route_audience {
    uint64_t workers[MAILBOX_WAITERS_MAX / 64]; /* as bits */
    struct match_set *matches;                  /* the patterns, with a reference, or NULL */
    uint32_t subscribers;                       /* subscriptions, by name and by pattern */
};

/* False when there is no memory. */
bool route_audience(struct route *r, struct route_rule rule, uint64_t hash, struct text topic,
    struct route_audience *audience);

#endif
