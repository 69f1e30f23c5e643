#include "proto/ws_mask.h"

#include <string.h>

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

    while (end - at >= 32) {
        uint64_t word[4];
        memcpy(word, at, 32);
        for (int i = 0; i < 4; i++) {
            word[i] ^= mask;
            seen |= word[i];
        }
        memcpy(at, word, 32);
        at += 32;
    }
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        word ^= mask;
        seen |= word;
        memcpy(at, &word, 8);
        at += 8;
    }
    for (size_t i = 0; at < end; i++, at++) {
        *at ^= turned[i];
        seen |= *at;
    }
    return (seen & 0x8080808080808080u) == 0;
}
