/* Sixteen bytes of a text looked at at once, where the machine has registers for them.
 *
 * BLOCK says how many, and is defined there only (SSE2, NEON): without it the caller goes by words
 * (base/word.h), as it does for what is shorter than a block. Operators work on blocks, byte by
 * byte; the functions are what operators cannot say. As with words, a test answers with the top
 * bit of a byte. */
#ifndef HERMES_BASE_BLOCK_H
#define HERMES_BASE_BLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined __SSE2__
#include <emmintrin.h>
#define BLOCK 16
#define BLOCK_FLAG 1 /* how far the flags of two neighbours are apart */
#define BLOCK_FLAGS UINT64_C(0xFFFF)
#elif defined __aarch64__ && defined __ARM_NEON && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#include <arm_neon.h>
#define BLOCK 16
#define BLOCK_FLAG 4
#define BLOCK_FLAGS UINT64_C(0x1111111111111111)
#endif

#ifdef BLOCK

typedef uint8_t block __attribute__((vector_size(BLOCK)));

static inline block block_load(const void *at)
{
    block b;
    memcpy(&b, at, sizeof b);
    return b;
}

/* A block with that byte in all its places. */
static inline block block_all(uint8_t byte)
{
    return (block){0} + byte;
}

/* FF where the bytes are equal, 00 elsewhere. */
static inline block block_equal(block a, block b)
{
    return (block)(a == b);
}

#ifdef __SSE2__

static inline block block_max(block a, block b)
{
    return (block)_mm_max_epu8((__m128i)a, (__m128i)b);
}

/* FF where the sum is greater. */
static inline block block_plus(block a, block b)
{
    return (block)_mm_adds_epu8((__m128i)a, (__m128i)b);
}

/* 0 where `b` is greater. */
static inline block block_minus(block a, block b)
{
    return (block)_mm_subs_epu8((__m128i)a, (__m128i)b);
}

/* The top bits of all bytes as flags, of which the first byte's is the lowest. */
static inline uint64_t block_flags(block b)
{
    return (unsigned)_mm_movemask_epi8((__m128i)b);
}

#else

static inline block block_max(block a, block b)
{
    return (block)vmaxq_u8((uint8x16_t)a, (uint8x16_t)b);
}

static inline block block_plus(block a, block b)
{
    return (block)vqaddq_u8((uint8x16_t)a, (uint8x16_t)b);
}

static inline block block_minus(block a, block b)
{
    return (block)vqsubq_u8((uint8x16_t)a, (uint8x16_t)b);
}

static inline uint64_t block_flags(block b)
{
    uint8x16_t set = vcltzq_s8((int8x16_t)b);
    uint8x8_t halves = vshrn_n_u16(vreinterpretq_u16_u8(set), 4);
    return vget_lane_u64(vreinterpret_u64_u8(halves), 0) & BLOCK_FLAGS;
}

#endif

/* How many bytes come before the first flagged one; `flags` is not 0. */
static inline size_t block_first(uint64_t flags)
{
    return (unsigned)__builtin_ctzll(flags) / BLOCK_FLAG;
}

#endif

#endif
