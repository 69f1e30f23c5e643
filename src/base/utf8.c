#include "base/utf8.h"

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

/* The bytes from `at` on that are ASCII, in whole words. */
static const uint8_t *skip_ascii(const uint8_t *at, const uint8_t *end)
{
    while (end - at >= 32 && word_high(word_load(at) | word_load(at + 8) | word_load(at + 16) |
                                       word_load(at + 24)) == 0)
        at += 32;
    while (end - at >= 8) {
        uint64_t high = word_high(word_load(at));
        if (high != 0)
            return at + word_first(high);
        at += 8;
    }
    return at;
}

uint32_t utf8_check(uint32_t state, const void *bytes, size_t len)
{
    if (len == 0)
        return state; /* `bytes` may be NULL then */
    const uint8_t *at = bytes;
    const uint8_t *end = at + len;
    while (at < end) {
        if (state == UTF8_START && *at < 0x80) {
            at = skip_ascii(at, end);
            if (at == end)
                break;
        }
        state = next_state[state][class_of[*at++]];
        if (state == UTF8_REJECT)
            break;
    }
    return state;
}
