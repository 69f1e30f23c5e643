/* What a blocked session does not send: the runs of messages that may be dropped, found by the
 * worker's marks, taken out of its outbox and noted in its arrears.
 *
 * Memory: with none nothing is dropped, or else the session is given up.
 * Threads: the worker's. */
#ifndef HERMES_SESSION_DROP_H
#define HERMES_SESSION_DROP_H

#include "session/session.h"

/* Of each topic by POLICY_LATEST only the newest unsent message stays. Many runs that were gone
 * through before are worth it again only when there are many new ones, so that a session with many
 * topics costs O(1) a run. */
void session_conflate(struct session *s);

/* Drops all that may be in the runs of which something is unsent before that position. */
void session_shed(struct session *s, uint64_t until);

/* The same, but what is the newest of its topic by POLICY_LATEST stays, and what came by
 * POLICY_DROP_OLDEST if there is little of all. */
void session_shed_older(struct session *s, uint64_t until);

/* Its gaps are not known: it is closed when it is flushed next, which the worker does before it
 * goes on. */
void session_give_up(struct session *s);

#endif
