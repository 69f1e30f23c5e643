/* Eight bytes of a text looked at at once, in one machine word.
 *
 * A test answers with a word of flags: the top bit of a byte that was looked for. The lowest flag
 * is exact; a flag above it may be false, because a borrow runs upwards through the word. */
#ifndef HERMES_BASE_WORD_H
#define HERMES_BASE_WORD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A word with that byte in all its places. */
#define WORD_ALL(byte) (UINT64_C(0x0101010101010101) * (uint8_t)(byte))
#define WORD_TOPS WORD_ALL(0x80)

/* The first byte in memory comes lowest, whatever the machine. */
static inline uint64_t word_load(const void *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* Fewer than eight bytes, as if zeros came behind them. */
static inline uint64_t word_load_part(const void *at, size_t len)
{
    const uint8_t *bytes = at;
    if (len >= 4) {
        uint32_t low;
        uint32_t high;
        memcpy(&low, bytes, 4);
        memcpy(&high, bytes + len - 4, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        low = __builtin_bswap32(low);
        high = __builtin_bswap32(high);
#endif
        return low | (uint64_t)high << 8 * (len - 4);
    }
    if (len == 0)
        return 0;
    /* The first, the middle and the last of one to three: some of them may be the same. */
    return bytes[0] | (uint64_t)bytes[len / 2] << 8 * (len / 2) |
           (uint64_t)bytes[len - 1] << 8 * (len - 1);
}

/* Flags the bytes below `limit`, which is at most 128. */
static inline uint64_t word_below(uint64_t word, uint8_t limit)
{
    return (word - WORD_ALL(limit)) & ~word & WORD_TOPS;
}

static inline uint64_t word_equal(uint64_t word, uint8_t byte)
{
    return word_below(word ^ WORD_ALL(byte), 1);
}

/* Flags the bytes that are not ASCII; all flags are exact. */
static inline uint64_t word_high(uint64_t word)
{
    return word & WORD_TOPS;
}

/* How many bytes come before the first flagged one; `flags` is not 0. */
static inline size_t word_first(uint64_t flags)
{
    return (size_t)__builtin_ctzll(flags) / 8;
}

#endif
