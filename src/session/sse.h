/* A session by server-sent events: GET /sse. It is one of level 2 that names its topics in the
 * request and says nothing after that; conn.unframed tells it from the others.
 *
 * Order: refused in one answer before anything is sent, or else a stream: the client's id, one
 *   ack_subscribe for each topic with what was asked for of its past behind it, then live messages.
 *   An event's id is a position in one topic; whoever comes back with it in Last-Event-ID gets what
 *   came behind it in that topic, and is told recovered:false for the others. */
#ifndef HERMES_SESSION_SSE_H
#define HERMES_SESSION_SSE_H

#include "base/buf.h"
#include "proto/handshake.h"
#include "session/session.h"

struct admission;

/* Answers a request, which nothing speaks against but perhaps what it asks for. */
void sse_open(struct session *s, const struct http_head *head, const struct request *request);

/* Answers one that is turned away, which has been counted. */
void sse_refuse(struct session *s, const struct request *request, const struct admission *refusal);

void sse_preflight(struct session *s, const struct request *request);

/* Frames as events, in a buffer of the worker's until the next call; see event_stream_append. */
const struct buf *sse_events(struct worker *w, struct text frames, uint64_t epoch);

/* Queues them; with no memory for them the session is closed at the next flush. */
void sse_send(struct session *s, const struct buf *events);

/* What the next event's id is when that tells of a topic that has been joined: where to go on if
 * nothing more of it arrives. */
void sse_send_position(struct session *s, const struct route_joined *joined);

/* It answers no pings, but its kernel acknowledges what it was sent: whether any of that has
 * happened since. */
void sse_pinged(struct session *s);
bool sse_acknowledged(struct session *s);

#endif
