/* The load of a plan: publishers that send by a schedule or keep a window full, subscribers that
 * check what comes. All scenarios but connect and churn are made of it.
 *
 * Order: load_open, load_connect, phases (load_start, load_wait), load_settle, load_close. In
 * between, load_cut and load_return for subscribers that go and come back.
 * Threads: load_* belong to the main one. A subscriber and a publisher belong to the lane they are
 * spread to. Across lanes go: `sent`, so that who joins knows what is owed; and of a window,
 * `target` and `waiting`. */
#ifndef HERMES_BENCH_LOAD_H
#define HERMES_BENCH_LOAD_H

#include "check.h"
#include "payload.h"
#include "plan.h"
#include "ramp.h"
#include "run.h"

enum client_stage {
    STAGE_IDLE,
    STAGE_CONNECTING,
    STAGE_READY, /* a subscriber: all its subscriptions are acknowledged */
    STAGE_GONE,
};

/* Of an epoch, which Hermes has 16 bytes long. */
enum { EPOCH_MOST = 31 };

struct subscription {
    uint32_t topic, publisher, streams; /* the first publisher and how many, as the plan has it */
    struct check *checks;               /* one for each stream of the topic */
    uint64_t taken;                     /* messages, each once */
    uint64_t offset;                    /* level 2: of the last message */
    char epoch[EPOCH_MOST];
    uint8_t epoch_len; /* 0: not known */
    uint64_t order;    /* they are folded into it one after the other */
};

struct subscriber {
    struct load_lane *at;
    struct hermes_client *client;
    const struct plan_subscriber *plan;
    struct subscription *subscriptions;
    uint32_t acknowledged;
    uint8_t stage;
    bool greeted;
    bool partial; /* joined when messages had been sent */
    bool stalled; /* does not read now */
    bool read;    /* level 2: the text that the client has just told of was a delivery, and taken */
    uint64_t begun;
    uint64_t cut;  /* when it lost its connection, until it is served again; else 0 */
    uint64_t owed; /* then: how many messages that takes */
};

struct publisher {
    struct load_lane *at;
    struct hermes_client *client;
    const struct plan_publisher *plan;
    uint32_t index;
    uint32_t cursor;       /* of its streams, the next */
    _Atomic uint8_t stage; /* subscribers' lanes look at it when they count what is missing */
    bool greeted;
    bool blocked;             /* the server takes no more at the moment */
    uint64_t confirmed;       /* the last token that the server has come to */
    uint64_t round;           /* messages of this phase, sent by schedule */
    _Atomic unsigned waiting; /* a window: lanes that have not got all of the batch */
    struct publisher *next_ready;
};

/* What was due by the schedule, but was not sent. */
struct load_unsent {
    uint64_t refused; /* the server took no more */
    uint64_t behind;  /* the tool did not come to it */
};

struct load_lane {
    struct load *load;
    struct lane *lane;
    struct ramp ramp;   /* subscribers, then publishers */
    struct pacer pacer; /* the schedule */
    struct subscriber *subscribers;
    size_t subscriber_count;
    struct publisher **publishers;
    size_t publisher_count;
    struct subscription *subscriptions;
    struct check *checks;
    size_t settled; /* of those that the ramp opens */
    bool sending;
    uint64_t visit; /* of the schedule: rounds times publishers */
    struct load_unsent unsent;
    size_t complete;          /* subscribers looked at that have all */
    uint64_t *done;           /* by publisher: deliveries here */
    _Atomic uint64_t *target; /* by publisher: how many make its batch whole */
    struct publisher *_Atomic ready_list;
    char *text; /* of a publish, but for topic and data */
};

struct load {
    struct run *run;
    const struct options *o;
    struct plan plan;
    struct payload_form form;
    struct load_lane *lanes;
    struct publisher *publishers;
    _Atomic uint64_t *sent; /* by stream */
    uint32_t *local;        /* by topic and lane: subscribers that a window waits for */
    char name[16];          /* what topics begin with, different in each run */
    _Atomic bool ending;    /* connections that end now are meant to */
    _Atomic bool
        too_slow_is_fine;  /* closings with 4008 of whoever it is: --find-knee overdoes it */
    _Atomic uint64_t slow; /* that were closed so, or while they were meant not to read */
    _Atomic size_t subscribers_ready, publishers_ready;
    _Atomic size_t unrecovered; /* that came back and did not get what they had missed */
    uint64_t token;             /* of the last confirmation asked for */
    /* Of the phase. */
    uint64_t start; /* messages are due from here to */
    _Atomic uint64_t until;
    double interval; /* ns, of one publisher */
};

/* Takes the plan over. */
void load_open(struct load *load, struct run *run, struct plan *plan);

/* Connects whoever is not connected: first the subscribers, then the publishers. False when the
 * run cannot go on: interrupted, or with nobody there. */
bool load_connect(struct load *load, char *fault, size_t fault_size);

/* Those that still wait for an answer count as not connected, unless the run was interrupted. */
void load_give_up(struct load *load);

/* From now on for so long, at `rate` messages per second of all; 0: as --window says. */
void load_start(struct load *load, double rate, double seconds);

/* Nothing more is due from now on. */
void load_stop(struct load *load);

/* Until all is sent and has arrived. False when the run has to end: interrupted or stalled. */
bool load_wait(struct load *load, bool stalled_too);

/* Until all is sent and the server has read it, whether anybody subscribes or not. False when the
 * run has to end. */
bool load_wait_read(struct load *load);

/* No more will come: what is missing is lost. */
void load_settle(struct load *load);

/* Closes all connections in order, compares what subscribers of one topic saw, and gives everything
 * back. */
void load_close(struct load *load);

/* Every subscriber has come back, and seen a message, or has failed to. */
bool load_served(struct load *load);

/* How many have. */
size_t load_served_count(struct load *load);

/* Since the last asking. */
struct load_unsent load_unsent(struct load *load);

/* No subscriber is there any more, or no publisher. */
bool load_deserted(void *load);

/* Says that, and when. */
void load_note_deserted(struct load *load);

/* ---- on a lane: subscriber.c ---- */

void subscriber_init(struct subscriber *s);
void subscriber_open(struct subscriber *s, uint64_t moment);

/* Drops the connection without a word. Gone until it is opened again. */
void subscriber_cut(struct subscriber *s);
/* It comes back, and is served when it has all that it has missed. Behind load_wait_read. */
void subscriber_awaits(struct subscriber *s, uint64_t moment);

bool subscriber_has_all(const struct subscriber *s, bool stalled_too);

/* Counts what it is still owed as lost. */
void subscriber_settle(struct subscriber *s);

void subscriber_stall(struct subscriber *s);
void subscriber_resume(struct subscriber *s);

/* ---- on a lane: delivery.c ---- */

struct subscription *subscriber_find(struct subscriber *s, uint32_t topic);

/* The subscriber that was cut has what it is owed. */
void subscriber_served(struct subscriber *s);

/* Events of its client: at level 1 deliveries; at level 2 all texts, and deliveries. */
void subscriber_data(struct hermes_client *c, const char *data, size_t len, void *user);
void subscriber_message(struct hermes_client *c, char *text, size_t len, void *user);
void subscriber_delivery(struct hermes_client *c, const struct hermes_delivery *d, void *user);
void subscriber_gap(struct hermes_client *c, const struct hermes_gap *gap, void *user);

/* ---- on a lane: publisher.c ---- */

void publisher_open(struct publisher *p, uint64_t moment);

/* Begins with the phase that the load describes. */
void publishers_start(struct load_lane *at);

/* The pacer is due. */
void publishers_due(void *load_lane);

/* Sends the next batch of whoever is on the ready list. */
void publishers_ready(struct lane *lane);

/* Asks the server whether it has read all that this lane's publishers have sent. */
void publishers_confirm(struct load_lane *at, uint64_t token);
bool publishers_are_confirmed(const struct load_lane *at, uint64_t token);

/* One delivery of the publisher's batch, at this lane. */
void publisher_delivered(struct load_lane *at, uint32_t publisher);

/* ---- both ---- */

/* The name of a topic: load->name and six hexadecimal digits. */
enum { TOPIC_LEN = 20 };
void topic_name(const struct load *load, uint32_t topic, char *out);
bool topic_number(const struct load *load, const char *name, size_t len, uint32_t *topic);

/* A new client of the lane for `url` and the source whose turn it is; ends the program when there
 * is no memory. */
struct hermes_client *load_client(
    struct load_lane *at, const struct hermes_client_events *events, void *user, size_t turn);

#endif
