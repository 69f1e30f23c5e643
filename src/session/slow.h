/* Slow-consumer policies: what a session whose socket takes no more loses instead of its
 * connection, and the gap frames that tell it so (guarantee 4).
 *
 * Only messages by a subscription with POLICY_DROP_OLDEST or POLICY_LATEST are lost, never one that
 * is partly sent, never an answer. What was queued by a subscription that has ended since is not
 * lost either. A gap frame is sent in the place of what it stands for, also when the subscription
 * has ended by then.
 * Threads: the worker's. */
#ifndef HERMES_SESSION_SLOW_H
#define HERMES_SESSION_SLOW_H

#include <stdbool.h>

#include "session/session.h"

/* The log is over its budget, and this blocked session is to let go of its first chunk. Few bytes
 * are copied out, so that a quiet client does not pay for the traffic of others; else messages are
 * dropped. False when there is nothing left but to close it. */
bool session_let_go(struct session *s);

/* Sends to a session that was blocked. Of each topic by POLICY_LATEST only the newest unsent
 * message stays, and gap frames are told in their places. */
enum outbox_state session_send_slowly(struct session *s, struct outbox_sent *sent);

/* What it subscribes to from here on is not the subscription that was: offsets lost before and
 * behind are told apart. It may end the session. */
void session_part_gaps(struct session *s);

/* The session ends or is cut off. */
void session_forget_gaps(struct session *s);

#endif
