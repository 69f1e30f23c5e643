/* What answers to a request have in common, for greet.c and sse.c. What is written is in the
 * worker's scratch buffer. */
#ifndef HERMES_SESSION_GREET_H
#define HERMES_SESSION_GREET_H

#include "base/metrics.h"
#include "session/session.h"

/* Answers and ends the stream; the peer has until the deadline to end its side, so that the answer
 * is not lost with what it still sends. */
void greet_answer(struct session *s);

/* Answers, and the session is open; false: it has ended. */
bool greet_open(struct session *s);

/* A client's id, unlike any other of this broker: an odd factor maps no two numbers to one. */
uint64_t greet_client(struct worker *w);

/* Counts and logs what the answer refuses. */
void greet_note_refused(struct session *s, enum metric which, int status, const char *text);

#endif
