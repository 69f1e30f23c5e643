/* What goes on between this broker and the others of its cluster: the errands that workers and the
 * admin listener give to the cluster thread (cluster/cluster.h), and which come back to them.
 *
 * A topic is *far* when a cluster is configured and its rule does not say `local`: its messages are
 * numbered there. A far topic is *live* here (struct registry_topic) while this broker follows it:
 * then subscribing to it is as exact and as immediate as with any other.
 *
 * Order: backplane_send; once, later, `done` on the thread of `home`, or `lost`. Errands of one
 *   thread are begun in the order in which they were sent, publishes are numbered in it too where
 *   their topics live on one server.
 * Ownership: whoever sends an errand embeds it in whatever it wants to remember, and keeps all that
 *   it points to until it is back. It cannot be called back: who is gone by then is left out when
 *   it comes.
 * Threads: an errand is touched by the cluster thread only between backplane_send and `done`.
 * Memory: the mailbox of the cluster thread counts `weight` until the errand is done, so it is
 *   crowded when the other end is slow, see mailbox_crowded. That of home counts `found` on the way
 *   back. */
#ifndef HERMES_BROKER_BACKPLANE_H
#define HERMES_BROKER_BACKPLANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/text.h"
#include "broker/message.h"
#include "broker/route.h"
#include "loop/mailbox.h"

enum errand_kind {
    ERRAND_PUBLISH, /* numbers `message` and gives it to whoever subscribes, on all brokers */
    ERRAND_EVENT,   /* tells of `message`, a join or a leave; nothing is known of it after that */
    ERRAND_FOLLOW,  /* makes the topic live here; with `watches`, comings and goings too */
    ERRAND_PATTERN, /* the same for all topics that `name`, a pattern, may match */
    ERRAND_FETCH,   /* what is kept of a topic */
    ERRAND_ASK,     /* a question to the other brokers, see cluster/ask.h */
};

enum errand_outcome {
    ERRAND_DONE,
    ERRAND_UNAVAILABLE, /* what it needs cannot be reached now. A message that was to be published
                         * was not, or (when the connection broke meanwhile) may have been */
    ERRAND_NO_MEMORY,
};

/* What an ERRAND_ASK asks the other brokers; this one's own part is the asker's to add. */
enum ask_kind {
    ASK_PRESENCE, /* who subscribes to `name`: found holds uint64_t client ids */
    ASK_TOPICS,   /* a page of topics: found holds ask_row, each with its name behind it */
    ASK_DISMISS,  /* closes connections: `count` is how many were told to */
};

struct ask_row {
    uint32_t subscribers;
    uint32_t name_len;
};

/* So long, at least, all that an ERRAND_PATTERN's pattern may match comes here though nobody has
 * joined it yet. */
enum { PATTERN_STAYS_MS = 5000 };

struct errand {
    struct list node; /* the asker's, for whatever it wants */
    enum errand_kind kind;
    enum errand_outcome outcome;
    struct mailbox *home;           /* where it comes back to, as MAIL_ERRAND */
    void (*done)(struct errand *e); /* on home's thread */
    void (*lost)(struct errand *e); /* home was closed before: free it; any thread */
    _Atomic bool hurry;             /* somebody waits for it, see backplane_return */
    uint64_t hash;                  /* the registry's, of `name` */
    struct text name;               /* of the topic, or the pattern */
    uint32_t weight;                /* bytes that it keeps in memory */
    struct errand *behind;          /* the cluster thread's */
    void *carrier;                  /* the cluster thread's */
    union {
        struct {                          /* PUBLISH, EVENT */
            struct message *message;      /* whose reference the errand takes over */
            struct history_limits limits; /* what is kept of the topic */
            bool counted;                 /* `subscribers` is wanted */
            struct text key;              /* published once by those that have it; len 0: none */
        };
        bool watches;        /* FOLLOW, PATTERN */
        struct {             /* FETCH */
            uint64_t from;   /* offset of the first one that is wanted; 0: the newest ones */
            uint32_t most;   /* messages */
            size_t bytes;    /* about so many at most, but one message at least */
            uint64_t age_us; /* none that are older; 0: any */
            bool retain;     /* but the newest */
        };
        struct { /* ASK */
            enum ask_kind ask;
            struct text prefix, after, pattern; /* TOPICS */
            uint32_t limit;
            struct text user; /* DISMISS: that one's, or of `client` */
            uint64_t client;
            int code;
            struct text reason;
        };
    };
    /* --- what comes of it --- */
    uint64_t epoch;       /* of the topic, and */
    uint64_t offset;      /* of its newest message: PUBLISH (the last of those), FETCH, FOLLOW.
                           * PATTERN: clock_ms() then, see PATTERN_STAYS_MS */
    uint32_t subscribers; /* PUBLISH with `counted`: on all brokers, by name and by pattern */
    bool repeated;        /* PUBLISH with `key`: one before had it, and this is what came of that;
                           * its topic is in `found` */
    bool refused;         /* FETCH: Redis was asked and does not tell, nor will it soon */
    uint32_t count;       /* FETCH: messages found; ASK: see there */
    uint64_t first;       /* FETCH: offset of the first one found */
    uint64_t oldest;      /* FETCH: of the oldest one that is kept; offset + 1: none is */
    struct buf found;     /* FETCH: frames as in struct message, gapless; PUBLISH, ASK: see there */
    struct text next;     /* ASK_TOPICS: rows after this name are not all there; in `found` */
};

/* Whether a topic with that rule is far. */
static inline bool route_is_far(const struct route *r, const struct rule *rule)
{
    return r->backplane && !rule->local;
}

/* To the cluster thread. When that has ended it is `done` as unavailable, by mail as well. */
void backplane_send(struct route *r, struct errand *e);

/* The cluster thread: it is done. `idle`: nobody needs to know soon, so home is not woken for it;
 * unless somebody has said `hurry` meanwhile, who then has to look into its mailbox at once. */
void backplane_return(struct errand *e, bool idle);

/* The owner of `home`, for a MAIL_ERRAND that came. */
static inline void errand_finish(struct errand *e)
{
    e->done(e);
}

#endif
