#include "proto/json_run.h"

#include <stdbool.h>

#include "base/word.h"

/* Flags the stops of a word. Flipping 02 in every byte puts the quote right above the control
 * characters, and the space away from there, so that one subtraction tells both. */
static inline uint64_t word_stops(uint64_t word)
{
    uint64_t low = (word ^ WORD_ALL(0x02)) - WORD_ALL(0x21);
    uint64_t backslash = (word ^ WORD_ALL('\\')) - WORD_ALL(1);
    return (low | backslash) & ~word & WORD_TOPS;
}

const char *json_run_short(const char *at, const char *end)
{
    for (; end - at >= 8; at += 8) {
        uint64_t stops = word_stops(word_load(at));
        if (stops != 0)
            return at + word_first(stops);
    }
    /* The zeros behind what is left are control characters: they stop it at `end`. */
    return at + word_first(word_stops(word_load_part(at, (size_t)(end - at))));
}

#ifdef BLOCK

enum { NEAR = 3 * BLOCK, STRIDE = 8 * BLOCK };

/* The first stop in the blocks from `at` up to the one at `last`, or where they end. */
static inline const char *run_by_blocks(const char *at, const char *last)
{
    for (; at <= last; at += BLOCK) {
        uint64_t stops = json_block_stops(at);
        if (stops != 0)
            return at + block_first(stops);
    }
    return at;
}

/* Of four blocks together: json_block_flags tells whether there is a stop among them. */
static inline block four_blocks(const char *at)
{
    block a = json_block_flipped(at);
    block b = json_block_flipped(at + BLOCK);
    block c = json_block_flipped(at + 2 * BLOCK);
    block d = json_block_flipped(at + 3 * BLOCK);
    block highest = block_max(block_max(a, b), block_max(c, d));
    block ab = json_block_backslashes(a) | json_block_backslashes(b);
    block cd = json_block_backslashes(c) | json_block_backslashes(d);
    return block_max(highest, ab | cd);
}

static inline bool stride_is_plain(const char *at)
{
    return json_block_flags(block_max(four_blocks(at), four_blocks(at + STRIDE / 2))) == 0;
}

/* A stride with a stop in it is gone through again block by block. So only what has been plain for
 * a while is taken by strides. */
const char *json_run_long(const char *at, const char *end)
{
    const char *last = end - BLOCK;
    if (end - at >= NEAR + STRIDE) {
        const char *far = at + NEAR;
        at = run_by_blocks(at, far - BLOCK);
        if (at != far)
            return at;
        for (const char *last_stride = end - STRIDE; at <= last_stride && stride_is_plain(at);)
            at += STRIDE;
    }
    at = run_by_blocks(at, last);
    if (at <= last || at == end)
        return at;
    /* The last block again, less what of it has been seen. */
    uint64_t stops = json_block_stops(last) >> (at - last) * BLOCK_FLAG;
    return stops ? at + block_first(stops) : end;
}

#endif

static inline bool is_hex(char c)
{
    return (unsigned char)(c - '0') < 10 || (unsigned char)((c | 0x20) - 'a') < 6;
}

/* `at` is a backslash. */
static inline const char *escape_end(const char *at, const char *end)
{
    if (end - at < 2)
        return NULL;
    switch (at[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return at + 2;
    case 'u':
        if (end - at < 6)
            return NULL;
        for (int i = 2; i < 6; i++)
            if (!is_hex(at[i]))
                return NULL;
        return at + 6;
    default:
        return NULL;
    }
}

/* `at` is a stop within a string, or `end`. */
static const char *string_rest(const char *at, const char *end)
{
    while (at != end && *at != '"') {
        if (*at != '\\' || !(at = escape_end(at, end)))
            return NULL;
        at = json_run_end(at, end);
    }
    return at == end ? NULL : at + 1;
}

const char *json_string_short(const char *at, const char *end)
{
    return string_rest(json_run_short(at, end), end);
}

#ifdef BLOCK

const char *json_string_long(const char *at, const char *end)
{
    return string_rest(json_run_long(at, end), end);
}

#endif
