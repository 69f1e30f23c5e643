/* The sending half of a WebSocket (RFC 6455 section 5.2): frame headers and close bodies. */
#ifndef HERMES_PROTO_WS_OUT_H
#define HERMES_PROTO_WS_OUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/ws_in.h"

enum { WS_HEAD_MAX = 14 };

/* Writes the header of one unmasked, final frame with `len` bytes of payload; returns its size
 * (2, 4 or 10). `out` holds at least 10 bytes. */
size_t ws_head(uint8_t *out, enum ws_opcode opcode, size_t len);

/* Appends one whole unmasked frame. */
void ws_frame(struct buf *out, enum ws_opcode opcode, const void *payload, size_t len);

/* Writes the body of a close frame and returns its size: nothing for WS_NO_CODE; a reason longer
 * than 123 bytes is cut at a character. */
size_t ws_close_body(uint8_t body[125], int code, const char *reason);

/* Appends an unmasked close frame with such a body. A masked one: ws_frame_masked on the body. */
void ws_close_frame(struct buf *out, int code, const char *reason);

/* Appends one whole frame masked with `key` (the client's side). */
void ws_frame_masked(
    struct buf *out, enum ws_opcode opcode, const void *payload, size_t len, const uint8_t key[4]);

#endif
