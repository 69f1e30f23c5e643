/* Which brokers there are: each renews itself every second in a sorted set of the first Redis
 * server, by that one's clock, and is gone when it has not for NODES_LIFE_MS.
 *
 * Whoever comes or goes in order says so in ASK_CHANNEL_ALL, and all look at once.
 *
 * While the server cannot be reached, and for NODES_LIFE_MS after it can again, nobody is taken for
 * gone: the others may not have got there yet.
 *
 * Order: nodes_init, nodes_up each time its link comes up (and messages to hermes:c:all are
 *   received), nodes_close, nodes_fini when the loop has closed its handles and the link is closed.
 * Threads: the loop's. Memory: NODES_MOST of them, at most. */
#ifndef HERMES_CLUSTER_NODES_H
#define HERMES_CLUSTER_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/logger.h"
#include "base/text.h"

struct redis_link;

enum { NODES_MOST = 1024, NODES_RENEW_MS = 1000, NODES_LIFE_MS = 5000, NODE_DIGITS = 16 };

/* A broker's id, random and never 0, as it stands in keys and channels. */
struct node_text {
    char digits[NODE_DIGITS];
};
struct node_text node_text(uint64_t node);

/* 0 when it is none. */
uint64_t node_read(struct text text);

/* Lua, for redis_link_settings.scripts. */
extern const char nodes_script[];

struct nodes_settings {
    uv_loop_t *loop;
    struct redis_link *link; /* commands of the first server */
    unsigned script;         /* index of nodes_script in the link's */
    uint64_t id;             /* this broker's */
    struct logger *logger;
    /* One of the others has come, or is gone. NULL: nobody wants to know. */
    void (*changed)(uint64_t node, bool here, void *user);
    void *user;
};

struct nodes {
    struct nodes_settings settings;
    uv_timer_t timer;
    uint64_t *ids; /* of the others, sorted */
    size_t count;
    uint64_t trusted_ms; /* who is missing before that may still come */
    uint64_t answered_ms;
    bool asking; /* an answer is to come */
    bool again;  /* and that may be old then */
    bool known;  /* the others know of this one */
    bool closing;
};

void nodes_init(struct nodes *n, const struct nodes_settings *settings);
void nodes_up(struct nodes *n);

/* Somebody may have come or gone. */
void nodes_look(struct nodes *n);

/* Is gone for the others, where the link is up. */
void nodes_close(struct nodes *n);
void nodes_fini(struct nodes *n);

/* Whether it is one of the others, and there. */
bool nodes_has(const struct nodes *n, uint64_t node);

/* Whether Redis has said yet who is there. */
static inline bool nodes_known(const struct nodes *n)
{
    return n->answered_ms != 0;
}

/* How many there are, with this one. */
static inline size_t nodes_count(const struct nodes *n)
{
    return n->count + 1;
}

#endif
