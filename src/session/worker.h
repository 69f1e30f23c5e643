/* A worker: one thread, one loop, a shard of the sessions.
 *
 * Order: each round of the loop polls, which reads from clients and posts what they publish, and
 *   then takes one turn: deliver the mail (append to the log, add spans), flush the sessions that
 *   were touched, one write each, and give back what of the log nobody needs. A turn is sliced:
 *   what it leaves is gone on with after the next poll.
 * Threads: all fields are the worker's own but the mailbox and the metrics, and what is set before
 *   worker_start. */
#ifndef HERMES_SESSION_WORKER_H
#define HERMES_SESSION_WORKER_H

#include <stdatomic.h>
#include <uv.h>

#include "base/logger.h"
#include "base/metrics.h"
#include "base/slab.h"
#include "broker/local.h"
#include "broker/route.h"
#include "loop/mailbox.h"
#include "loop/wheel.h"
#include "net/addresses.h"
#include "net/byte_log.h"
#include "net/cidr.h"
#include "net/conn.h"
#include "net/gate.h"
#include "net/outbox.h"
#include "net/poller.h"
#include "net/ring.h"
#include "proto/envelope.h"
#include "proto/origins.h"
#include "proto/ws_in.h"
#include "session/facts.h"
#include "session/keys_box.h"
#include "session/marks.h"
#include "session/pulse.h"
#include "session/tls_box.h"

struct session;
struct verifier;

/* What the sessions of one broker have to keep to. 0: no limit, or never. */
struct session_limits {
    size_t message_bytes;
    size_t topic_bytes;
    size_t subscriptions;
    size_t messages_per_second;
    size_t backlog_bytes; /* per worker */
    uint64_t handshake_ms;
    uint64_t ping_ms;
    uint64_t pong_ms;
    uint64_t drain_ms;
};

/* What all workers of one broker share. */
struct workshop {
    struct route route;
    struct rules_box rules;
    struct keys_box keys;
    struct tls_box tls;
    uint64_t client_key; /* random: what the clients' ids are made of */
    struct session_limits limits;
    struct logger *logger;
    struct addresses *addresses;
    struct origins origins;   /* of the pages that may connect */
    struct cidr_list trusted; /* proxies that are believed whom they speak for */
    bool proxy_head;          /* every connection begins with a PROXY header */
    struct worker *workers;
    unsigned count;
    bool io_uring;               /* to be tried */
    bool observed;               /* there is who asks how the workers do, see session/pulse.h */
    _Atomic int64_t connections; /* raised by the acceptor, lowered by the workers */
    _Atomic bool unready;        /* draining: readyz says 503, handshakes are refused */
    _Atomic bool away;           /* a server of the cluster cannot be reached: readyz says 503 */
    _Atomic unsigned at_work;    /* workers that have not ended: until the last one has, whoever is
                                  * outside may publish */
    struct gate gate;            /* for handshakes; its rate is set before */
    void (*ended)(void *user);   /* called by each worker as the last thing on its thread */
    void *user;
};

/* Why a load balancer should send nobody here; NULL: it may. Any thread. */
static inline const char *shop_unready(const struct workshop *shop)
{
    if (atomic_load_explicit(&shop->unready, memory_order_relaxed))
        return "shutting down";
    return atomic_load_explicit(&shop->away, memory_order_relaxed) ? "redis away" : NULL;
}

/* WORKER_FLUSH_SLICE: sessions that are sent to before the loop polls again. WORKER_RELIEF: what
 * `relief` may rise by before that, or by what one session more costs. WORKER_SECURE_NS: time for
 * TLS handshakes in a turn. */
enum { WORKER_BACKPLANE = MAILBOX_WAITERS_MAX };
enum {
    READ_BUFFER = 64 * 1024,
    WORKER_FLUSH_SLICE = 512,
    WORKER_RELIEF = 100000,
    WORKER_SECURE_NS = 2000000
};

struct flush_queue {
    struct session **sessions; /* NULL: ended meanwhile */
    size_t at;
    size_t count;
    size_t cap;
};

/* What a session has published to one topic and is not posted yet; nothing between two reads. */
struct gathered {
    struct session *publisher;
    struct route_rule rule;
    bool quiet;      /* not for the publisher itself */
    struct buf acks; /* who wants one: struct ack, each with its id behind it */
    struct buf topic;
    uint64_t hash;
    struct message *message; /* NULL: nothing */
    size_t room;             /* of its frames */
    size_t usual;            /* what the last one came to */
};

struct worker {
    struct workshop *shop;
    unsigned index;
    uv_thread_t thread;
    uv_sem_t begun; /* the thread runs, and has its ring or not */
    uv_loop_t loop;
    struct mailbox box;
    struct tray tray;
    struct wheel wheel;
    struct poller poller; /* of the sessions' sockets */
    uv_prepare_t turn;    /* runs the turn before each poll */
    uv_idle_t unfinished; /* active while a slice is left: keeps the poll from blocking */
    uv_timer_t drain_timer;
    struct slab sessions;
    struct session *ended; /* to be freed at the end of the turn */
    struct local_topics topics;
    struct facts facts;
    struct byte_log log;
    struct marks marks;  /* in the log */
    size_t log_settled;  /* its chunks when the flush queue was last empty */
    bool strained;       /* it is over its budget until the next turn */
    uint64_t relief;     /* work so far of making sessions let go: marks, spans and notes */
    uint32_t deliveries; /* how often all the mail there was had been delivered */
    struct flush_queue queue;
    struct ring *ring;   /* NULL: every session is sent to by itself */
    const char *no_ring; /* why none was to be had; NULL: it was */
    struct ws_pool *readers;
    struct gathered gathered;
    struct buf scratch;        /* for answers */
    struct buf untouched;      /* a command before it was read, if it may have to wait */
    struct buf acks;           /* answers to publishes, until the mail is delivered */
    struct envelope envelope;  /* of the topic that is being delivered */
    struct buf enveloped;      /* its frames, */
    struct buf events;         /* and those as server-sent events; answers, too */
    uint32_t choosing;         /* changes with each run that not everyone gets */
    const void *joining;       /* its interest is raised, though nobody is in the local topic yet */
    struct rules *rules;       /* in force here; NULL: none */
    struct auth_keys *keys;    /* that tokens are checked against here; NULL: none */
    struct verifier *verifier; /* of those; NULL, too, when there was no memory for it */
    struct wheel bearers;      /* when their tokens expire */
    bool other_rules;          /* or keys: to be taken before the next turn */
    struct tls_config *tls;    /* for new sessions; NULL: there is no port for TLS */
    struct list securing;      /* sessions whose TLS handshake can go on, */
    struct list insecure;      /* and those where it can begin */
    struct list catching;      /* struct catch_up: who takes the past piece by piece */
    uint32_t catching_count;
    size_t catching_found;     /* bytes that were fetched for them, and not given yet */
    uv_timer_t catching_again; /* those for whom nothing could be fetched ask again */
    struct list resumable;     /* struct aside: whose commands need not wait any more, */
    size_t parked_bytes;       /* and what all that wait take */
    struct list waiting;       /* struct waiting: questions that are not answered yet */
    struct list inquiries;     /* struct inquiry_part: that are under way here */
    uint64_t clients;          /* that have been given an id */
    uv_timer_t sweeper;
    uv_timer_t auditor;
    unsigned audit_stripe; /* that it is going through, */
    size_t audit_at;       /* and where in there */
    unsigned sweeps;
    bool sweep_on;           /* the round has found something to come back for */
    struct session **paused; /* publishers that wait for a mailbox, and who listed too much */
    size_t paused_count;
    size_t paused_cap;
    int64_t listing;     /* topics that may be looked at for listings */
    uint64_t listing_ms; /* when that was last raised */
    uv_timer_t listing_timer;
    uint64_t drain_ms;        /* draining: when it began, */
    uint64_t drain_spread_ms; /* and what its sessions' ends are spread over */
    uintptr_t drain_cursor;
    uint32_t turned_away; /* handshakes, for times to come back that differ */
    bool draining;
    bool telling; /* some do not know yet */
    bool closing;
    clockid_t cpu_clock; /* of its thread, for others to read */
    struct pulse pulse;
    _Atomic uint64_t alive; /* the newest MAIL_ALIVE, for whoever asks */
    struct metrics metrics;
    char buffer[READ_BUFFER + CONN_READ_MORE];
};

/* Makes the loop and what is on it; a libuv error code or 0. On an error nothing is left. */
int worker_init(struct worker *w, struct workshop *shop, unsigned index);

/* Starts the thread and waits until it has begun; a libuv error code or 0. */
int worker_start(struct worker *w);

/* Gives it its ring, where there may be one. On the thread that will run the worker: the kernel
 * interrupts whoever has made a ring or used it, also when the ring has ended, and that must not
 * be a thread of the program around the broker. */
void worker_open_ring(struct worker *w);

/* Waits for the thread, which ends when it was told to drain and its last session is gone. */
void worker_join(struct worker *w);

/* Frees a worker whose thread has ended or was never started. */
void worker_fini(struct worker *w);

/* The rule for a topic; valid until the turn is over. */
static inline struct route_rule worker_rule(const struct worker *w, struct text topic)
{
    return (struct route_rule){rules_find(w->rules, topic), rules_version(w->rules)};
}

/* --- for the sessions ------------------------------------------------------------------------- */

/* sweep.c: goes through the worker's share of the stripes, now and then, for as long as there is
 * anything to look for. */
void worker_sweep(struct worker *w);

/* presence.c: answers a question of another worker's, or hands on the answer to one of ours.
 * Returns how much work it was, in subscribers. */
struct presence;
size_t worker_presence(struct worker *w, struct presence *p);

/* presence.c: appends the ids (uint64_t) of those who subscribe here, each once; `matches` may be
 * NULL. */
void worker_list_clients(struct worker *w, uint64_t hash, struct text topic,
    const struct match_set *matches, struct buf *clients);

/* presence.c: frees a question that cannot be answered any more. */
void presence_abandon(struct presence *p);

/* publish.c: posts what has been gathered, before anything else is done or answered. */
void worker_post_gathered(struct worker *w);

/* publish.c: sends the answers to publishes that waited for the mail to be delivered. */
void worker_send_acks(struct worker *w);

/* delivery.c: works off all mail that has been taken out of the box, without flushing more than it
 * must. */
void worker_deliver(struct worker *w);

/* delivery.c: one slice of the same; false when there is more. */
bool worker_deliver_slice(struct worker *w);

/* delivery.c: delivers and flushes already within a poll's round, when there is enough of it. */
void worker_deliver_early(struct worker *w);

/* delivery.c: queues a session that has something to send. */
void worker_touch(struct worker *w, struct session *s);
void worker_untouch(struct worker *w, struct session *s);

/* delivery.c: the oldest position of the log that a queued session has to send; the log's end for
 * none. */
uint64_t worker_oldest_queued(struct worker *w);

/* delivery.c: flushes up to `most` of the queued sessions. */
void worker_flush(struct worker *w, size_t most);

/* ring_flush.c: flushes up to `most` of the queued sessions, their first writes by the ring in one
 * go. Returns how many. */
size_t worker_flush_by_ring(struct worker *w, size_t most);

/* pressure.c: keeps the log within its budget; flushes everything first if it must. While the log
 * is not far beyond that, it may be `strained` for some turns, in which nothing is delivered. */
void worker_relieve(struct worker *w);

/* pressure.c: stops reading from a publisher until the mailbox of `crowded` has room: a worker, or
 * WORKER_BACKPLANE. */
void worker_pause(struct worker *w, struct session *s, unsigned crowded);
void worker_unpause(struct worker *w, struct session *s);
void worker_resume_all(struct worker *w);

/* pressure.c: listings are paid for by the topics that are looked at: whoever lists faster than
 * that is earned again is not read from for a while, and refused when it has sent too many already.
 */
bool worker_may_list(struct worker *w, const struct session *s);
void worker_listed(struct worker *w, struct session *s, size_t seen);

/* missed.c: tells all who subscribe to a topic what of it they have missed; `*told`: there are no
 * more who have to be closed for it. Returns how much work it was, in spans. */
size_t worker_tell_gap(struct worker *w, const struct message *m, bool *told);

/* missed.c: messages for patterns may have been missed: all who subscribe by one are told. */
void worker_tell_missed(struct worker *w);

#endif
