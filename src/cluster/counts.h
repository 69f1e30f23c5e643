/* How many subscribe to a topic on all brokers, by its name: each broker keeps its own number in
 * the topic's hash, field `n<node>`, and whoever publishes is given the hash and adds up.
 *
 * Numbers are written COUNTS_LATE_MS after they changed, at most, many topics in one command; those
 * of brokers that are gone do not count, and are taken out when they are found again COUNTS_DEAD_MS
 * later. Who subscribes by a pattern is counted on his own broker alone.
 *
 * Order: counts_init; counts_add for a topic, counts_note, counts_again, counts_remove;
 *   counts_close; counts_fini when the loop has closed its handles.
 * Threads: the loop's. Memory: the caller's, an entry a topic. */
#ifndef HERMES_CLUSTER_COUNTS_H
#define HERMES_CLUSTER_COUNTS_H

#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "base/text.h"
#include "cluster/nodes.h"

struct redis_link;
struct resp;

enum { COUNTS_LATE_MS = 100, COUNTS_DEAD_MS = 30000, COUNTS_STRANGERS = 64 };

/* Lua, for redis_link_settings.scripts. */
extern const char counts_script[];

struct counts_settings {
    uv_loop_t *loop;
    unsigned script; /* index of counts_script in each link's */
    const struct nodes *nodes;
};

/* One live topic's number. */
struct counted {
    struct list node;        /* while it is to be written */
    struct redis_link *link; /* commands of the topic's server */
    struct text name;        /* the caller's, for as long as this is there */
    uint32_t now;
    uint32_t written;
};

/* A broker with a number somewhere that is not there. */
struct stranger {
    uint64_t node; /* 0: free */
    uint64_t since_ms;
};

struct counts {
    struct counts_settings settings;
    uv_timer_t timer;
    struct list due; /* struct counted */
    unsigned stranger_count;
    struct stranger strangers[COUNTS_STRANGERS];
};

void counts_init(struct counts *c, const struct counts_settings *settings);
void counts_add(struct counted *entry, struct redis_link *link, struct text name);

/* The topic has so many subscribers here, by name. */
void counts_note(struct counts *c, struct counted *entry, uint32_t subscribers);

/* Redis may not know any more: when the link has come up again, once the topic's hash is there. */
void counts_again(struct counts *c, struct counted *entry);

/* The topic is not live any more. The number goes from Redis where the link is up. */
void counts_remove(struct counts *c, struct counted *entry);

/* Adds up what a topic's hash (HGETALL) says of the other brokers that are there; this one's number
 * is the caller's to add, which knows it better. */
uint64_t counts_sum(struct counts *c, struct redis_link *link, struct text topic,
    const struct resp *fields, size_t count);

void counts_close(struct counts *c);
void counts_fini(struct counts *c);

#endif
