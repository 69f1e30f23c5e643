/* Slow-consumer policies: what a session whose socket takes no more loses instead of its
 * connection, and the gap frames that tell it so (guarantee 4).
 *
 * Only messages by a subscription with POLICY_DROP_OLDEST or POLICY_LATEST are lost, never one that
 * is partly sent, never an answer. A gap frame for a topic is sent before the topic's next message.
 * Threads: the worker's. */
#ifndef HERMES_SESSION_SLOW_H
#define HERMES_SESSION_SLOW_H

#include <stdbool.h>

#include "session/session.h"

/* The log wants its first chunk back, which this session holds: drops what is in there, and what
 * POLICY_LATEST lets go of anywhere. True when the session holds the chunk no longer, or when what it
 * still holds there has become so little that copying it out is worth another try. */
bool session_shed(struct session *s);

/* Before a session that was blocked is sent to: of each topic by POLICY_LATEST only the newest
 * unsent message stays. */
void session_conflate(struct session *s);

/* Writes the gap frames that are due in front of what is queued, behind what is partly sent or
 * copied out already. Before each flush and before anything is copied out. */
void session_tell_gaps(struct session *s);

/* The session ends or is cut off. */
void session_forget_gaps(struct session *s);

#endif
