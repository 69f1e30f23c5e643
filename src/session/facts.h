/* What a worker remembers of its sessions' subscriptions, so that it can be asked later why one of
 * them did not get a message (session/explain.h).
 *
 * Two rows of the newest facts, so that a slow client that loses much does not make those be
 * forgotten which tell who subscribed when. Nothing is noted for a delivery: what has been
 * delivered is known of each local topic (`delivered` in broker/local.h), and is noted with what
 * begins or ends a subscription. So each of these facts also says how far its topic had got here
 * then.
 * Memory: 2 rows of FACTS_KEPT facts of 40 bytes, 640 KiB a worker, of which the system gives what
 *   has been used.
 * Threads: the worker's. */
#ifndef HERMES_SESSION_FACTS_H
#define HERMES_SESSION_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/local.h"
#include "broker/route.h"
#include "proto/reply2.h"

struct catch_up;
struct session;
struct worker;

enum { FACTS_KEPT = 8192, FACTS_CLOSED_MOST = 8 };

enum fact_kind {
    /* Of subscriptions: */
    FACT_SUBSCRIBED, /* gets what comes from `offset` on, of which `count` were there before */
    FACT_LEFT,       /* got what came up to `offset` */
    FACT_CLOSED,     /* the same; `count` bytes of its queue were thrown away */
    FACT_CLOSED_ALL, /* the same of all others that it had, too many to be noted each, or of none */
    /* Of messages, `count` of them from `offset` on, and of commands: */
    FACT_DROPPED,   /* it was too slow */
    FACT_FORGOTTEN, /* it was to be given them of the history, which did not have them any more */
    FACT_OWN,       /* it had published them itself, and asked not to get them */
    FACT_MISSED,    /* the registry did not know that this worker wants them, see session/audit.h */
    FACT_REFUSED,   /* to subscribe */
};

struct fact {
    uint64_t client;
    uint64_t hash;          /* of the topic, or the pattern */
    uint64_t offset;        /* 0 with a pattern */
    uint32_t epoch;         /* half of the topic's; 0: not known */
    uint32_t count;         /* UINT32_MAX: so many or more */
    uint64_t ms : 45;       /* of uv_now() */
    uint64_t enveloped : 1; /* it spoke level 2 */
    uint64_t is_pattern : 1;
    uint64_t
        apart : 1; /* its offset is not how far the topic had got, but only what it was given */
    uint64_t kind : 8;
    uint64_t why : 8; /* enum policy, enum close_reason, enum error_code */
};
_Static_assert(sizeof(struct fact) == 40, "as the memory is said to be");

struct fact_row {
    struct fact *list;
    uint64_t count; /* ever: the newest is list[(count - 1) % FACTS_KEPT] */
};

struct facts {
    struct fact_row subscriptions;
    struct fact_row losses;
};

bool facts_init(struct facts *f);
void facts_fini(struct facts *f);

/* Notes one. A loss that goes on where the one before ended is one with that. */
void facts_add(struct facts *f, struct fact fact);

/* The numbers of those that are there: from facts_first to row->count - 1. */
static inline uint64_t facts_first(const struct fact_row *row)
{
    return row->count > FACTS_KEPT ? row->count - FACTS_KEPT : 0;
}

static inline const struct fact *facts_at(const struct fact_row *row, uint64_t number)
{
    return &row->list[number % FACTS_KEPT];
}

/* --- what sessions note ----------------------------------------------------------------------- */

/* It has joined, or will when it has been given the past. `joined`: NULL for a pattern. */
void session_note_joined(
    struct session *s, struct local_key key, enum policy policy, const struct route_joined *joined);

/* It leaves by its own will. */
void session_note_left(struct session *s, const struct local_topic *local);
void session_note_given_up(struct session *s, const struct catch_up *c);

/* It is closed, and still has its subscriptions; `lost` bytes of its queue are thrown away. */
void session_note_closed(struct session *s, uint8_t reason, uint64_t lost);

/* Messages `from` to `to`. */
struct fact_loss {
    enum fact_kind kind;
    uint8_t why;
    uint64_t hash;
    uint64_t epoch;
    uint64_t from;
    uint64_t to;
};
void session_note_loss(struct session *s, const struct fact_loss *loss);

void session_note_refused(
    struct session *s, struct text name, bool is_pattern, enum error_code code);

#endif
