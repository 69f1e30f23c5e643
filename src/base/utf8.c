#include "base/utf8.h"

#include "base/block.h"
#include "base/word.h"

/* What a byte can be. The continuation bytes fall into three ranges, because that is how finely the
 * byte behind E0, ED, F0 and F4 is bounded. */
enum {
    C_ASCII,
    C_TAIL_80, /* 80-8F */
    C_TAIL_90, /* 90-9F */
    C_TAIL_A0, /* A0-BF */
    C_LEAD_2,  /* C2-DF */
    C_E0,
    C_LEAD_3, /* E1-EC, EE, EF */
    C_ED,
    C_F0,
    C_LEAD_4, /* F1-F3 */
    C_F4,
    C_NEVER, /* C0, C1, F5-FF */
    CLASSES
};

/* Behind the two states that the header names: what the character begun still needs. */
enum {
    TAIL_1 = 2,
    TAIL_2,
    TAIL_3,
    AFTER_E0, /* not 80-9F: overlong */
    AFTER_ED, /* not A0-BF: surrogates */
    AFTER_F0, /* not 80-8F: overlong */
    AFTER_F4, /* not 90-BF: past U+10FFFF */
    STATES,
    R = UTF8_REJECT
};

static const uint8_t class_of[256] = {
    [0x80 ... 0x8F] = C_TAIL_80,
    [0x90 ... 0x9F] = C_TAIL_90,
    [0xA0 ... 0xBF] = C_TAIL_A0,
    [0xC0 ... 0xC1] = C_NEVER,
    [0xC2 ... 0xDF] = C_LEAD_2,
    [0xE0] = C_E0,
    [0xE1 ... 0xEC] = C_LEAD_3,
    [0xED] = C_ED,
    [0xEE ... 0xEF] = C_LEAD_3,
    [0xF0] = C_F0,
    [0xF1 ... 0xF3] = C_LEAD_4,
    [0xF4] = C_F4,
    [0xF5 ... 0xFF] = C_NEVER,
};

static const uint8_t next_state[STATES][CLASSES] = {
    [UTF8_START] = {UTF8_START, R, R, R, TAIL_1, AFTER_E0, TAIL_2, AFTER_ED, AFTER_F0, TAIL_3,
        AFTER_F4, R},
    [UTF8_REJECT] = {R, R, R, R, R, R, R, R, R, R, R, R},
    [TAIL_1] = {R, UTF8_START, UTF8_START, UTF8_START, R, R, R, R, R, R, R, R},
    [TAIL_2] = {R, TAIL_1, TAIL_1, TAIL_1, R, R, R, R, R, R, R, R},
    [TAIL_3] = {R, TAIL_2, TAIL_2, TAIL_2, R, R, R, R, R, R, R, R},
    [AFTER_E0] = {R, R, R, TAIL_1, R, R, R, R, R, R, R, R},
    [AFTER_ED] = {R, TAIL_1, TAIL_1, R, R, R, R, R, R, R, R, R},
    [AFTER_F0] = {R, R, TAIL_2, TAIL_2, R, R, R, R, R, R, R, R},
    [AFTER_F4] = {R, TAIL_2, R, R, R, R, R, R, R, R, R, R},
};

static inline uint32_t step(uint32_t state, uint8_t byte)
{
    return next_state[state][class_of[byte]];
}

/* One byte after the other, but for what is ASCII. */
static uint32_t by_bytes(uint32_t state, const uint8_t *at, const uint8_t *end)
{
    while (at < end && state != UTF8_REJECT) {
        if (state == UTF8_START) {
            while (end - at >= 8 && word_high(word_load(at)) == 0)
                at += 8;
            if (at == end)
                break;
        }
        state = step(state, *at++);
    }
    return state;
}

#ifdef BLOCK

enum { BEFORE = 3 }; /* what a block must know of the bytes in front of it */

/* The faults that show in the block at `at`, as bytes that are not 0. Each byte is judged by itself
 * and the three in front of it; so a character that goes on behind the block is no fault yet. */
static inline block block_faults(const uint8_t *at)
{
    const block zero = {0};
    block now = block_load(at);
    block one = block_load(at - 1);
    block two = block_load(at - 2);
    block three = block_load(at - 3);

    /* A tail must stand where a lead one, two or three places before calls for it, and nowhere
     * else. */
    block called = block_minus(one, block_all(0xBF)) | block_minus(two, block_all(0xDF)) |
                   block_minus(three, block_all(0xEF));
    block is_tail = block_equal(now & block_all(0xC0), block_all(0x80));
    block faults = block_equal(is_tail, block_equal(called, zero));

    /* What no text has: C0, C1, F5 and more. */
    faults |= block_equal(now & block_all(0xFE), block_all(0xC0));
    faults |= block_minus(now, block_all(0xF4));

    /* The tail behind E0 and F0 is not below A0 and 90 (overlong), that behind ED and F4 not above
     * 9F (surrogates) and 8F (past U+10FFFF). */
    block least = (block_equal(one, block_all(0xE0)) & block_all(0xA0)) |
                  (block_equal(one, block_all(0xF0)) & block_all(0x90));
    faults |= block_minus(least, now);
    faults |= block_minus(block_equal(one, block_all(0xED)) & now, block_all(0x9F));
    faults |= block_minus(block_equal(one, block_all(0xF4)) & now, block_all(0x8F));
    return faults;
}

static inline bool four_are_ascii(const uint8_t *at)
{
    block two = block_load(at) | block_load(at + BLOCK);
    block more = block_load(at + 2 * BLOCK) | block_load(at + 3 * BLOCK);
    return block_flags(two | more) == 0;
}

/* From between two characters, with BEFORE bytes in front of `at`, and BLOCK bytes at least. The
 * last block may overlap the one before it, for a byte may be judged twice. */
static uint32_t by_blocks(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *last = end - BLOCK;
    block faults = {0};
    uint64_t before = 0;
    for (;;) {
        while (before == 0 && last - at >= 4 * BLOCK && four_are_ascii(at))
            at += 4 * BLOCK;
        uint64_t high = block_flags(block_load(at));
        if ((high | before) != 0)
            faults |= block_faults(at);
        before = high;
        if (at == last)
            break;
        at = last - at > BLOCK ? at + BLOCK : last;
    }
    if (block_flags(block_equal(faults, (block){0})) != BLOCK_FLAGS)
        return UTF8_REJECT;
    /* All is right so far: the last character tells where it ends. */
    at = end - 1;
    while ((*at & 0xC0) == 0x80)
        at--;
    return by_bytes(UTF8_START, at, end);
}

#endif

uint32_t utf8_check(uint32_t state, const void *bytes, size_t len)
{
    if (len == 0)
        return state; /* `bytes` may be NULL then */
    const uint8_t *at = bytes;
    const uint8_t *end = at + len;
#ifdef BLOCK
    const uint8_t *from = at + BEFORE;
    if (len >= BEFORE + 2 * BLOCK) {
        while (at < from || (state != UTF8_START && state != UTF8_REJECT && at < from + BEFORE))
            state = step(state, *at++);
        return state == UTF8_START ? by_blocks(at, end) : UTF8_REJECT;
    }
#endif
    return by_bytes(state, at, end);
}
