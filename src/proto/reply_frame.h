/* A frame around a payload whose length is known only at its end. */
#ifndef HERMES_PROTO_REPLY_FRAME_H
#define HERMES_PROTO_REPLY_FRAME_H

#include <string.h>

#include "base/buf.h"
#include "proto/ws_out.h"

/* What a payload is written behind, so that its header can be put in front of it: as long as the
 * longest header without a mask. */
enum { REPLY_HEAD_ROOM = 10 };

/* Begins a frame whose payload is appended to `out`; returns where it starts. */
static inline size_t reply_frame_begin(struct buf *out)
{
    static const char room[REPLY_HEAD_ROOM];
    size_t at = out->len;
    buf_append(out, room, REPLY_HEAD_ROOM);
    return at;
}

/* Ends it: a whole frame, or with no memory nothing at all (and `failed`). */
static inline void reply_frame_end(struct buf *out, size_t at)
{
    if (out->failed) {
        out->len = at;
        return;
    }
    uint8_t head[WS_HEAD_MAX];
    char *frame = out->data + at;
    size_t len = out->len - at - REPLY_HEAD_ROOM;
    size_t head_len = ws_head(head, WS_TEXT, len);
    memcpy(frame, head, head_len);
    memmove(frame + head_len, frame + REPLY_HEAD_ROOM, len);
    out->len = at + head_len + len;
}

#endif
