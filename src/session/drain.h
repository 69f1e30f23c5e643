/* The end of a worker's sessions: each is told when it ends, and ends then.
 *
 * Twenty thousand clients that are closed in one moment come back in one moment, to other nodes
 * that have their own clients to serve. So the ends are spread over three quarters of
 * WS_DRAIN_SECONDS (the last quarter is for those who take what is queued), or over less where
 * there are not so many clients: no need to let two wait for each other for longer than 10 ms. Each
 * has a place in that time, at random, and is served as ever until then. Pacing is all that can be
 * done for clients of level 1. At level 2 all are told their place at once, by a frame whose
 * after_ms ends when the connection does: there is time to finish what must not be interrupted, or
 * to connect elsewhere first; and who waits for the end finds that the time to come back is now,
 * not at random later: a client that is away misses messages, and the ends are spread already.
 * Streams of server-sent events are told, too; their `retry`, which counts from the end, stays what
 * it was.
 *
 * A session whose place has come is sent what was published until then, answered what it has
 * published itself, and closed with 1012. Whatever is left when WS_DRAIN_SECONDS are over is ended
 * by force.
 *
 * Order: worker_drain; worker_drain_step in each turn until it has told all; then drain_met as the
 *   sessions' deadlines come, which drain_within keeps from being set past their places.
 * Memory: none: a place is a hash of the client's id.
 * Threads: the worker's. */
#ifndef HERMES_SESSION_DRAIN_H
#define HERMES_SESSION_DRAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct session;
struct worker;

/* Begins it; the worker takes no more connections. Harmless when called again. */
void worker_drain(struct worker *w);

/* Tells a few hundred; false when there are more. */
bool worker_drain_step(struct worker *w);

/* A deadline of an open session was met, while it drains. True: it was due to end. */
bool drain_met(struct session *s);

/* That time, or less where its place comes before. */
uint64_t drain_within(const struct session *s, uint64_t ms);

#endif
