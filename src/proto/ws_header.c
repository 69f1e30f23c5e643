#include "proto/ws_header.h"

#include <string.h>

#include "proto/ws_in.h"

enum { FIN = 0x80, RSV = 0x70, OPCODE = 0x0f, MASKED = 0x80, LENGTH = 0x7f };

static uint64_t big_endian(const uint8_t *bytes, size_t len)
{
    uint64_t n = 0;
    while (len--)
        n = n << 8 | *bytes++;
    return n;
}

static bool may_come(uint8_t first, bool in_message)
{
    switch (first & OPCODE) {
    case WS_CONTINUATION:
        return in_message;
    case WS_TEXT:
    case WS_BINARY:
        return !in_message;
    case WS_CLOSE:
    case WS_PING:
    case WS_PONG:
        return (first & FIN) != 0;
    default:
        return false;
    }
}

enum ws_header_result ws_header_read(
    struct ws_header *h, const uint8_t *bytes, size_t len, struct ws_expected expected)
{
    if (len < 1)
        return WS_HEADER_MORE;
    if ((bytes[0] & RSV) != 0 || !may_come(bytes[0], expected.in_message))
        return WS_HEADER_BAD;
    h->fin = (bytes[0] & FIN) != 0;
    h->opcode = bytes[0] & OPCODE;

    if (len < 2)
        return WS_HEADER_MORE;
    if (((bytes[1] & MASKED) != 0) != expected.masked)
        return WS_HEADER_BAD;
    h->len = bytes[1] & LENGTH;
    h->size = 2;
    if (h->len > WS_CONTROL_MAX) {
        size_t more = h->len == 126 ? 2 : 8;
        if (ws_header_is_control(h))
            return WS_HEADER_BAD;
        if (len < 2 + more)
            return WS_HEADER_MORE;
        h->len = big_endian(bytes + 2, more);
        h->size = (uint8_t)(2 + more);
        /* The shortest form alone, and no length with the top bit. */
        if (h->len <= (more == 2 ? WS_CONTROL_MAX : 0xffff) || h->len >> 63)
            return WS_HEADER_BAD;
    }

    memset(h->key, 0, sizeof h->key);
    if (expected.masked) {
        if (len < h->size + sizeof h->key)
            return WS_HEADER_MORE;
        memcpy(h->key, bytes + h->size, sizeof h->key);
        h->size += sizeof h->key;
    }
    return WS_HEADER_DONE;
}
