/* The header of a received frame (RFC 6455 section 5.2), decoded and checked. */
#ifndef HERMES_PROTO_WS_HEADER_H
#define HERMES_PROTO_WS_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WS_HEADER_MAX = 14, WS_CONTROL_MAX = 125 };

struct ws_header {
    uint64_t len;   /* of the payload; less than 2^63 */
    uint8_t key[4]; /* zero when the frame is not masked */
    uint8_t opcode; /* one of enum ws_opcode */
    uint8_t size;   /* of the header itself */
    bool fin;
};

enum ws_header_result {
    WS_HEADER_MORE, /* right so far, and not complete */
    WS_HEADER_DONE,
    WS_HEADER_BAD, /* close with 1002 */
};

/* What may come next on a connection. */
struct ws_expected {
    bool masked;     /* the mask bit must be exactly this */
    bool in_message; /* a fragmented message is under way */
};

/* Says WS_HEADER_BAD with the first byte that shows it. */
enum ws_header_result ws_header_read(
    struct ws_header *h, const uint8_t *bytes, size_t len, struct ws_expected expected);

static inline bool ws_header_is_control(const struct ws_header *h)
{
    return (h->opcode & 8) != 0;
}

#endif
