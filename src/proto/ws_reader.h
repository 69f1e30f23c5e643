/* A frame that comes in pieces, and the fragments of a message: collected and put together. Used by
 * ws_in alone.
 *
 * wslay's frame API walks the frames, with two things done before it sees them. It unmasks byte by
 * byte (0.9 ns each: 14 us for 16 KiB), so payloads are unmasked in place beforehand, and wslay is
 * given each frame as one that was sent without a mask. And it says nothing of a header before
 * payload follows, so the header is collected and judged here: what is too long is refused before a
 * byte of it has come.
 *
 * Memory: wslay's context (4.3 KiB) and one buffer, which grows with the bytes that have come and
 *   not past the limit, whatever the number of fragments. */
#ifndef HERMES_PROTO_WS_READER_H
#define HERMES_PROTO_WS_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <wslay/wslay.h>

#include "proto/ws_header.h"
#include "proto/ws_in.h"

struct ws_reader {
    struct ws_reader *next; /* in the pool's list of spare ones */
    wslay_frame_context_ptr wslay;

    /* What wslay reads next. */
    const uint8_t *supply;
    size_t supply_len;

    /* The frame under way. */
    uint8_t head[WS_HEADER_MAX];
    size_t head_len;
    struct ws_header frame;
    uint64_t offset; /* payload bytes that have come */
    bool in_frame;   /* its header is complete, its payload is not */
    char control[WS_CONTROL_MAX];

    /* The message under way. */
    enum ws_opcode opcode; /* WS_CONTINUATION: there is none */
    unsigned fragments;
    uint32_t utf8;
    char *data;
    size_t len;
    size_t cap;
};

/* NULL when there is no memory. */
struct ws_reader *ws_reader_new(void);
void ws_reader_free(struct ws_reader *r);

/* Makes it as new, whatever it was fed; false when only ws_reader_free is left. */
bool ws_reader_reset(struct ws_reader *r);

/* Takes the rest of one frame, or as much of it as is there, and says how many bytes in *used.
 * Returns 0 or a close code. When *done, r->frame is a frame that is complete: a control frame with
 * its payload in `control`, or a data frame that has been added to the message. */
int ws_reader_feed(struct ws_reader *r, const struct ws_settings *settings, char *bytes, size_t len,
    size_t *used, bool *done);

static inline bool ws_reader_is_at_rest(const struct ws_reader *r)
{
    return !r->in_frame && r->head_len == 0 && r->opcode == WS_CONTINUATION;
}

#endif
