#include "proto/ws_out.h"

#include <string.h>

#include "proto/ws_mask.h"

enum { FIN = 0x80, MASKED = 0x80, CONTROL_MAX = 125 };

size_t ws_head(uint8_t *out, enum ws_opcode opcode, size_t len)
{
    uint64_t n = len;
    out[0] = (uint8_t)(FIN | opcode);
    if (n < 126) {
        out[1] = (uint8_t)n;
        return 2;
    }
    if (n <= 0xffff) {
        out[1] = 126;
        out[2] = (uint8_t)(n >> 8);
        out[3] = (uint8_t)n;
        return 4;
    }
    out[1] = 127;
    for (int i = 0; i < 8; i++)
        out[2 + i] = (uint8_t)(n >> (56 - 8 * i));
    return 10;
}

void ws_frame(struct buf *out, enum ws_opcode opcode, const void *payload, size_t len)
{
    /* Room for both first: a frame is appended whole or not at all. */
    if (!buf_reserve(out, WS_HEAD_MAX + len))
        return;
    out->len += ws_head((uint8_t *)out->data + out->len, opcode, len);
    if (len > 0)
        memcpy(out->data + out->len, payload, len);
    out->len += len;
}

void ws_frame_masked(
    struct buf *out, enum ws_opcode opcode, const void *payload, size_t len, const uint8_t key[4])
{
    uint8_t head[WS_HEAD_MAX];
    size_t head_len = ws_head(head, opcode, len);
    head[1] |= MASKED;
    memcpy(head + head_len, key, 4);
    head_len += 4;
    if (!buf_reserve(out, head_len + len))
        return;
    buf_append(out, head, head_len);
    buf_append(out, payload, len);
    ws_mask(out->data + out->len - len, len, key, 0);
}

size_t ws_close_body(uint8_t body[125], int code, const char *reason)
{
    if (code == WS_NO_CODE)
        return 0;
    size_t len = strlen(reason);
    if (len > CONTROL_MAX - 2) {
        len = CONTROL_MAX - 2;
        while (len && ((unsigned char)reason[len] & 0xc0) == 0x80)
            len--;
    }
    body[0] = (uint8_t)(code >> 8);
    body[1] = (uint8_t)code;
    memcpy(body + 2, reason, len);
    return 2 + len;
}

void ws_close_frame(struct buf *out, int code, const char *reason)
{
    uint8_t body[CONTROL_MAX];
    ws_frame(out, WS_CLOSE, body, ws_close_body(body, code, reason));
}
