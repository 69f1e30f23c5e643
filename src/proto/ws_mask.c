#include "proto/ws_mask.h"

#include <string.h>

/* What SSE2 and NEON hold; the compilers make words of it elsewhere. */
typedef uint64_t wide __attribute__((vector_size(16)));

bool ws_mask(void *bytes, size_t len, const uint8_t key[4], size_t offset)
{
    uint8_t *at = bytes;
    uint8_t *end = at + len;
    uint8_t turned[8];
    uint64_t mask;
    uint64_t seen = 0;

    /* Two copies of the key, turned so that its first byte is the one for bytes[0]. */
    for (size_t i = 0; i < 8; i++)
        turned[i] = key[(offset + i) & 3];
    memcpy(&mask, turned, 8);

    if (end - at >= 32) {
        wide wide_mask = {mask, mask};
        wide wide_seen = {0, 0};
        for (; end - at >= 32; at += 32) {
            wide part[2];
            memcpy(part, at, 32);
            part[0] ^= wide_mask;
            part[1] ^= wide_mask;
            wide_seen |= part[0] | part[1];
            memcpy(at, part, 32);
        }
        seen = wide_seen[0] | wide_seen[1];
    }
    for (; end - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        word ^= mask;
        seen |= word;
        memcpy(at, &word, 8);
    }
    for (size_t i = 0; at < end; i++, at++) {
        *at ^= turned[i];
        seen |= *at;
    }
    return (seen & 0x8080808080808080u) == 0;
}
