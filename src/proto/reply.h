/* What the server says on its own account at level 1: each appends one whole WebSocket frame. */
#ifndef HERMES_PROTO_REPLY_H
#define HERMES_PROTO_REPLY_H

#include "base/buf.h"
#include "base/text.h"

void reply_info(struct buf *out);
void reply_subscribed(struct buf *out, struct text topic);
void reply_unsubscribed(struct buf *out, struct text topic);
void reply_not_subscribed(struct buf *out, struct text topic); /* error "Not subscribed to T" */
void reply_error(struct buf *out, struct text message);

/* The fixed error texts of level 1. */
void reply_bad_json(struct buf *out);
void reply_malformed(struct buf *out);
void reply_binary(struct buf *out);

/* The answer to `topics` is written row by row into `rows` and framed at the end. */
void reply_topics_row(struct buf *rows, struct text topic, size_t subscribers);
void reply_topics(struct buf *out, struct text rows, const struct text *next); /* next or NULL */

#endif
