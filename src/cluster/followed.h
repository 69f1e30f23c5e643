/* One far topic that this broker follows; between the files that look after it. */
#ifndef HERMES_CLUSTER_FOLLOWED_H
#define HERMES_CLUSTER_FOLLOWED_H

#include "cluster/follow.h"

enum follow_state {
    FOLLOW_AWAY, /* its server is: it waits for it to be back */
    FOLLOW_WANTED,
    FOLLOW_SUBSCRIBING,
    FOLLOW_ASKING,
    FOLLOW_SETTLING,
    FOLLOW_FETCHING,
    FOLLOW_LIVE,
};

/* A row of messages that came before its turn. */
struct held {
    struct held *next;
    uint64_t epoch;
    struct message *message;
};

struct followed {
    struct list node;  /* in its shard's */
    struct list queue; /* in its shard's `wanting`, `asking`, `settling` or `missing` */
    struct shard *shard;
    uint64_t hash;
    enum follow_state state;
    bool live;              /* in the registry; from the first time on until it goes */
    bool again;             /* something was thrown away: its position has to be asked for again */
    bool overtaken;         /* SETTLING: its newest numbers here have been given to others since */
    bool refused;           /* ASKING: Redis did not tell, and is to be asked once more */
    bool watched;           /* joins and leaves are wanted too, */
    bool watching;          /* and come */
    uint32_t second;        /* of the cluster's, when it was looked at */
    uint32_t quiet;         /* seconds since somebody wanted it */
    uint32_t age;           /* seconds, see REFRESH */
    struct counted counted; /* its subscribers here, while it is live */
    uint64_t epoch;         /* SETTLING, FETCHING: what Redis has said */
    uint64_t run;           /* of the server, when it was asked last; its first 16 digits */
    uint64_t writer;        /* the last of which Redis said then that it took over; 0: none */
    uint64_t seen_epoch;    /* not live: how far patterns have been given it */
    uint64_t seen;
    uint64_t offset;       /* and up to where it has to come by fetching */
    struct errands wanted; /* that wait for it to be live */
    struct errands behind; /* publishes whose messages have not come yet */
    struct held *held_first;
    struct held *held_last;
    uint32_t name_len;
    char name[];
};

static inline struct text followed_name(const struct followed *f)
{
    return (struct text){f->name, f->name_len};
}

struct followed *followed_find(struct cluster *c, uint64_t hash, struct text name);

/* follow.c: its position has to be asked for. */
void followed_ask(struct followed *f);

/* follow.c: whoever waits for it is told. */
void followed_answer(struct followed *f, enum errand_outcome outcome);

/* follow.c: its subscribers here have been given all up to there; 0, 0: no more will come. */
void followed_came_to(struct followed *f, uint64_t epoch, uint64_t offset);

/* follow.c: it is not to be had: whoever wants it is told. */
void followed_give_up(struct followed *f);

/* follow.c: it is live: whoever waits for that is told. */
void followed_ready(struct followed *f);

/* settle.c: Redis has said where the topic is; `takeovers`: w in cluster/scripts.c. */
void followed_positioned(
    struct followed *f, uint64_t epoch, uint64_t offset, struct text takeovers);

/* settle.c: all that was published before that has come. */
void followed_settle(struct followed *f);

/* settle.c: what it misses can be fetched: it is its turn. */
void followed_fetch(struct followed *f);

/* settle.c: keeps a message until its turn; takes the reference. */
void followed_hold(struct followed *f, uint64_t epoch, struct message *m);
void followed_drop_held(struct followed *f);

/* arrivals.c: gives a message to the registry, and publishes their answers that waited for it. */
enum relay_result followed_relay(struct cluster *c, struct followed *f, uint64_t hash,
    struct text topic, uint64_t epoch, struct message *m);

/* settle.c: gives all that is held, as far as it goes without a hole; then it is live. */
void followed_go_live(struct followed *f);

/* positions.c: asks for those that wait for it. */
void positions_ask(struct shard *s);

/* patterns.c */
void pattern_channels_up(struct shard *s);
void pattern_channels_down(struct shard *s);
bool pattern_channels_cover(const struct shard *s, struct text topic);
void pattern_channels_confirmed(struct shard *s, struct text channel);
void pattern_channels_turn(struct shard *s);
void pattern_channels_tick(struct cluster *c);
void pattern_channels_fini(struct shard *s);

#endif
