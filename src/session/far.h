/* What sessions want of topics that are numbered elsewhere (broker/backplane.h).
 *
 * Order: an errand comes back by the worker's mailbox, so behind what was relayed before it.
 * Ownership: an errand is its own; a session that ends is left out when it comes back.
 * Threads: the worker's. */
#ifndef HERMES_SESSION_FAR_H
#define HERMES_SESSION_FAR_H

#include "broker/backplane.h"
#include "session/session.h"

/* --- publishing: far_publish.c ---------------------------------------------------------------- */

struct publishing {
    struct session *session; /* NULL: nobody is to be answered */
    struct route_rule rule;
    uint64_t hash;
    struct text topic;
    struct message *message;
    bool quiet;
    struct text acks; /* as session_answer_published takes them */
};

/* Takes over the message. False when there is no memory: nothing is published. */
bool far_publish(struct worker *w, const struct publishing *p);

/* Whether any of the session's is on its way. */
bool session_publishes_far(const struct session *s);

/* Something waits for those that are on their way. */
void session_hurry_far(struct session *s);

/* Nobody waits for the answers any more. */
void session_forget_far(struct session *s);

/* publish.c: answers those of `count` messages who wanted that (rows of struct ack, each with its
 * id behind it); when they failed all of them, whether or not they wanted to know. */
void session_answer_published(struct session *s, struct text topic, uint32_t count,
    const struct route_result *result, struct text acks);

/* --- the past: far_past.c ----------------------------------------------------------------------
 */

/* What a rule lets be fetched. */
void far_fetch_limits(struct errand *e, struct route_rule rule);

/* A topic has just been joined for whose past something was fetched: true when that is to be given
 * (and more behind it), from joined->past.first on. */
bool far_resume(const struct wish *wish, struct route_joined *joined);

#endif
