/* TLS handshakes of a worker's sessions, a few in each turn.
 *
 * One step of a handshake may take a millisecond. Were it taken when its bytes come, a thousand
 * clients that connect at once would keep all the others waiting for a second; so whoever can go on
 * stands in a queue. Those whose handshake has begun go first: they hold memory, and a client that
 * is let in at last is worth more than two that are half in. Of the others the newest goes first,
 * and has all the time for a handshake from then on: when more come than can be let in, those who
 * came first have given up, and what is done for them is lost.
 *
 * Order: session_secure whenever the socket of an unsecured session is ready; worker_secure in each
 *   turn.
 * Threads: the worker's. */
#ifndef HERMES_SESSION_SECURE_H
#define HERMES_SESSION_SECURE_H

#include <stdbool.h>
#include <stdint.h>

struct session;
struct worker;

/* Queues it. */
void session_secure(struct session *s);

/* It ends: it is in no queue any more. */
void session_forget_secure(struct session *s);

/* Goes on with what is queued, for about so long and one step at least; false when there is more.
 */
bool worker_secure(struct worker *w, uint64_t slice_ns);

/* Takes the certificate that is in force, for sessions that begin from now on. */
void worker_take_tls(struct worker *w);

#endif
