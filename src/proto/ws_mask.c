#include "proto/ws_mask.h"

#include <string.h>

#include "base/word.h"

/* What SSE2 and NEON hold; the compilers make words of it elsewhere. */
typedef uint32_t wide __attribute__((vector_size(16)));

enum { WIDE = sizeof(wide), STRIDE = 4 * WIDE };

/* The key, turned so that its first byte is the one for a byte at `offset`. */
static inline uint32_t mask_at(const uint8_t key[4], size_t offset)
{
    uint32_t mask;
    memcpy(&mask, key, sizeof mask);
    unsigned bits = offset % 4 * 8;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bits = -bits;
#endif
    return mask >> (bits & 31) | mask << (-bits & 31);
}

static inline wide wide_masked(const uint8_t *at, wide mask)
{
    wide w;
    memcpy(&w, at, sizeof w);
    return w ^ mask;
}

static inline void wide_store(uint8_t *at, wide w)
{
    memcpy(at, &w, sizeof w);
}

static inline bool is_ascii(wide seen)
{
    uint64_t half[2];
    memcpy(half, &seen, sizeof half);
    return word_high(half[0] | half[1]) == 0;
}

static bool mask_short(uint8_t *at, uint8_t *end, uint32_t mask)
{
    uint32_t seen = 0;
    for (; end - at >= 4; at += 4) {
        uint32_t word;
        memcpy(&word, at, sizeof word);
        word ^= mask;
        seen |= word;
        memcpy(at, &word, sizeof word);
    }
    for (size_t i = 0; at < end; i++, at++) {
        *at ^= ((const uint8_t *)&mask)[i];
        seen |= *at;
    }
    return word_high(seen) == 0;
}

bool ws_mask(void *bytes, size_t len, const uint8_t key[4], size_t offset)
{
    uint8_t *at = bytes;
    uint32_t mask = mask_at(key, offset);
    if (len < WIDE)
        return mask_short(at, at + len, mask);

    /* The last ones are read before any others are written, and written after them: so the two may
     * overlap, and nothing is left to do byte by byte. */
    const wide m = (wide){0} + mask;
    uint8_t *tail = at + len - WIDE;
    wide last = wide_masked(tail, (wide){0} + mask_at(key, offset + len));
    wide seen = last;
    for (const uint8_t *stop = at + (len - WIDE) / STRIDE * STRIDE; at != stop; at += STRIDE) {
        wide a = wide_masked(at, m);
        wide b = wide_masked(at + WIDE, m);
        wide c = wide_masked(at + 2 * WIDE, m);
        wide d = wide_masked(at + 3 * WIDE, m);
        wide_store(at, a);
        wide_store(at + WIDE, b);
        wide_store(at + 2 * WIDE, c);
        wide_store(at + 3 * WIDE, d);
        seen |= a | b | c | d;
    }
    for (; at < tail; at += WIDE) {
        wide a = wide_masked(at, m);
        wide_store(at, a);
        seen |= a;
    }
    wide_store(tail, last);
    return is_ascii(seen);
}
