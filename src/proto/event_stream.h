/* Server-sent events (the HTML standard, section 9.2), made of what a WebSocket client of level 2
 * would be sent: a message is an event without a type, all else one of the type "hermes".
 *
 * An event has no empty line but its end, so that the next end of one is found from anywhere in a
 * stream. Its data is one line: the bytes of the frame, with a space for each CR and LF. */
#ifndef HERMES_PROTO_EVENT_STREAM_H
#define HERMES_PROTO_EVENT_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/text.h"
#include "proto/reply2.h"

/* Appends whole frames as events: texts, a close frame ({"type":"close","code":n,"reason":text}),
 * and a ping as a comment. `epoch`: of the messages among them, which get "EPOCH:OFFSET" for an id
 * then; 0: they get none. So does, unless that is 0, a gap that names an epoch: its own, and where
 * it ends. */
void event_stream_append(struct buf *out, struct text frames, uint64_t epoch);

/* Lines that belong to the event that is appended next. */
void event_stream_id(struct buf *out, uint64_t epoch, uint64_t offset);
void event_stream_retry(struct buf *out, uint64_t after_ms);

/* Says who the client is. */
void event_stream_info(struct buf *out, uint64_t client);

/* Takes such an id apart; false when it is none. The epoch may be any text without a colon. */
bool event_stream_position(struct text id, struct text *epoch, uint64_t *offset);

/* The head of the answer that is a stream, with no event yet. `origin`: of the page that may read
 * it; `at` NULL: none asked. */
void event_stream_head(struct buf *out, struct text origin);

/* A whole answer that is none: {"type":"error","code":C,"message":text}. The two names may be
 * empty. */
struct event_stream_refusal {
    int status;
    enum error_code code;
    struct text message;
    struct text topic;
    struct text pattern;
    unsigned retry_s; /* as of struct http_answer */
};
void event_stream_refuse(struct buf *out, const struct event_stream_refusal *refusal,
    struct text origin, bool head_only);

/* The answer to a page's question whether it may send an Authorization header. */
void event_stream_preflight(struct buf *out, struct text origin);

#endif
