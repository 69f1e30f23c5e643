/* What the parts of the saturating generator share; main.c says what it does.
 *
 * Order: load_plan, load_connect, then any number of load_run. Ownership: the load owns everything
 * until the program ends. Threads: one. */
#ifndef HERMES_BENCH_SATURATE_SATURATE_H
#define HERMES_BENCH_SATURATE_SATURATE_H

#include "../load_latency.h"
#include "../load_tls.h"
#include "dialect.h"

enum {
    MIN_PAYLOAD = 18,
    MAX_PAYLOAD = 64 * 1024,
    READ_BYTES = 1 << 20,
    MAX_PIDS = 16,
    MAX_PROCESSORS = 256
};

/* One connection; `rest` keeps a part of a frame, `part` a part of an item of a stream. */
struct conn {
    struct load_conn rest;
    struct load_conn part;
};

struct sequence {
    uint64_t next;
    uint64_t seen; /* bit i: next - 1 - i has come */
};

/* One topic of one subscriber. */
struct slot {
    uint32_t topic;
    uint64_t offset;     /* of the last delivery, where they have one */
    uint64_t order;      /* the deliveries of all publishers, folded in their order */
    struct sequence *of; /* by publisher heard */
};

struct subscriber {
    struct conn conn;
    struct slot *slots;
    uint64_t *after; /* by publisher heard: the least number that may come next */
};

struct publisher {
    struct conn conn;
    uint64_t first; /* where its round of the topics begins */
    uint64_t sent;  /* messages */
    uint64_t owed;  /* deliveries of the current batch that have not come */
    uint64_t stamp; /* when that was sent, or was due if it was late */
    uint64_t due;   /* at a rate: of the batch that is on its way, or waits */
    bool waits, late;
    unsigned char *out;
    size_t out_len, out_at;
    bool waits_to_write;
};

struct faults {
    uint64_t lost, doubled, reordered, damaged, disordered, misnumbered;
};

struct cell {
    int payload, inflight;
    double warmup, seconds;
    double rate; /* messages a second of all publishers; 0: as fast as it goes */
};

enum mode { MODE_FANOUT, MODE_PAIRS, MODE_TOPICS };

struct load {
    const struct dialect *dialect;
    uint16_t port, publish_port; /* of subscribers, of publishers */
    struct load_tls *tls;        /* NULL: plain */
    pid_t pids[MAX_PIDS];
    int pid_count;
    pid_t beside; /* whose time is told beside that of the servers; 0: nobody */
    pid_t softirqs[MAX_PROCESSORS];
    int softirq_count;

    /* who subscribes what; see plan.c */
    enum mode mode;
    const char *prefix; /* of their names */
    uint32_t topic_count, slot_count, subscriber_count, publisher_count, heard;
    uint32_t *subscribers_of;
    char (*names)[TOPIC_BYTES];
    struct subscriber *subscribers;
    struct publisher *publishers;

    int epoll, timer; /* the timer is the epoll's too */
    unsigned char *in;
    const struct cell *cell;
    char payload[MAX_PAYLOAD];
    uint64_t deliveries, messages, batches; /* batches: complete, of all publishers */
    bool stalled;
    struct faults faults;
    uint64_t read_at; /* when what is being read came */
    struct load_latency latency;
    struct publisher **idle; /* whose batch is complete, in that order */
    uint32_t idle_count;
};

/* ---- plan.c ---- */

void load_plan(struct load *l);

/* Of a publisher's n-th message: its topic, and its number within that topic. */
uint32_t publisher_topic(const struct load *l, const struct publisher *p, uint64_t number);
uint64_t publisher_sequence(const struct load *l, const struct publisher *p, uint64_t number);

/* The sequence that a topic's next message of that publisher will have. */
uint64_t publisher_next(const struct load *l, const struct publisher *p, uint32_t topic);

/* ---- check.c ---- */

void payload_fill(struct load *l);
void payload_number(char *payload, uint32_t publisher, uint64_t number);
void subscriber_delivery(struct load *l, struct subscriber *s, const struct item *item);

/* Compares the subscribers with each other and with what was sent, when nothing is in flight. */
void load_settle(struct load *l);

/* ---- conn.c ---- */

/* A connection to be made. Topics: what a subscriber subscribes; of a publisher the first may be
 * named by its path. */
struct opening {
    struct conn *conn;
    uint16_t port;
    const char *role; /* sub, pub: for the path */
    const char *const *topics;
    uint32_t count; /* of topics to subscribe */
    unsigned index;
    uint32_t waits; /* for answers */
};

/* Connects, says hello and subscribes; returns when all is acknowledged. The sockets block. */
void conn_open_all(const struct load *l, struct opening *openings, size_t count);
void conn_close(struct conn *c);

/* Reads once; deliveries go to subscriber_delivery. `s` is NULL for publishers. */
void conn_read(struct load *l, struct conn *c, struct subscriber *s);

/* ---- run.c ---- */

void load_connect(struct load *l);

/* Returns with the next batch on its way. */
void publisher_send(struct load *l, struct publisher *p);

/* One measured cell, printed as a line of JSON; false when a fault was seen. */
bool load_run(struct load *l, const struct cell *cell);

/* ---- pace.c ---- */

/* Has all publishers wait for their turns. */
void pace_start(struct load *l);

/* A batch is complete: whether the publisher has to wait for its next turn. */
bool pace_waits(const struct load *l, struct publisher *p);

/* Sends those whose turn has come, and has the timer ring for the next one. */
void pace_send(struct load *l);

/* Nobody waits any more; returns how many did. */
uint32_t pace_stop(struct load *l);

/* ---- memory.c ---- */

/* idle, shared, own; printed as a line of JSON. */
void load_memory(const struct load *l, const char *mode, unsigned count, unsigned warmup);

#endif
