/* The masking of WebSocket payloads (RFC 6455 section 5.3). */
#ifndef HERMES_PROTO_WS_MASK_H
#define HERMES_PROTO_WS_MASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Masks or unmasks in place `len` bytes that stand at `offset` of their payload. Returns whether
 * all of them are ASCII afterwards, which is known on the way and spares most texts their UTF-8
 * check. */
bool ws_mask(void *bytes, size_t len, const uint8_t key[4], size_t offset);

#endif
