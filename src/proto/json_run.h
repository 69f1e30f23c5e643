/* Runs of plain characters: what a JSON string is made of between its escapes.
 *
 * What ends a run is called a stop: the quote, the backslash, and the control characters. No byte
 * that is not ASCII is one. Nothing at `end` or behind it is ever read. */
#ifndef HERMES_PROTO_JSON_RUN_H
#define HERMES_PROTO_JSON_RUN_H

#include "base/block.h"

/* The first stop from `at` on, or `end`. */
const char *json_run_short(const char *at, const char *end);

/* Of a string, where `at` is within it: the byte behind its closing quote, or NULL. */
const char *json_string_short(const char *at, const char *end);

#ifdef BLOCK

/* The same two where BLOCK bytes in front of `at` are readable, too. */
const char *json_run_long(const char *at, const char *end);
const char *json_string_long(const char *at, const char *end);

/* Flipping FD makes E0 and more of the control characters and DF of the quote, and lets nothing
 * else come there (the space becomes DD). The backslash becomes A1, of which this makes FF. */
static inline block json_block_flipped(const char *at)
{
    return block_load(at) ^ block_all(0xFD);
}

static inline block json_block_backslashes(block flipped)
{
    return block_equal(flipped, block_all('\\' ^ 0xFD));
}

/* The flags of the stops, where the highest of both of these is given. */
static inline uint64_t json_block_flags(block highest)
{
    return block_flags(block_minus(highest, block_all(0xDF - 0x80)));
}

static inline uint64_t json_block_stops(const char *at)
{
    block flipped = json_block_flipped(at);
    return json_block_flags(block_max(flipped, json_block_backslashes(flipped)));
}

#endif

/* As json_run_short; for a run that is probably no longer than a block, or else very long. */
static inline const char *json_run_end(const char *at, const char *end)
{
#ifdef BLOCK
    if (end - at >= BLOCK) {
        uint64_t stops = json_block_stops(at);
        return stops ? at + block_first(stops) : json_run_long(at + BLOCK, end);
    }
#endif
    return json_run_short(at, end);
}

/* As json_string_short; the same. */
static inline const char *json_string_end(const char *at, const char *end)
{
#ifdef BLOCK
    if (end - at >= BLOCK) {
        uint64_t stops = json_block_stops(at);
        if (stops == 0)
            return json_string_long(at + BLOCK, end);
        at += block_first(stops);
        if (*at == '"')
            return at + 1;
    }
#endif
    return json_string_short(at, end);
}

#ifdef BLOCK

/* As block_first. Up to eight the processor guesses what comes of it, as it does with all branches,
 * and is ahead already when the flags are there, where it would have to wait for them and count. */
static inline size_t json_guess_first(uint64_t flags)
{
    if (flags >> 0 * BLOCK_FLAG & 1)
        return 0;
    if (flags >> 1 * BLOCK_FLAG & 1)
        return 1;
    if (flags >> 2 * BLOCK_FLAG & 1)
        return 2;
    if (flags >> 3 * BLOCK_FLAG & 1)
        return 3;
    if (flags >> 4 * BLOCK_FLAG & 1)
        return 4;
    if (flags >> 5 * BLOCK_FLAG & 1)
        return 5;
    if (flags >> 6 * BLOCK_FLAG & 1)
        return 6;
    if (flags >> 7 * BLOCK_FLAG & 1)
        return 7;
    if (flags >> 8 * BLOCK_FLAG & 1)
        return 8;
    return block_first(flags);
}

#endif

/* The same for a key: the same ones come again and again, so that their lengths can be guessed. */
static inline const char *json_key_end(const char *at, const char *end)
{
#ifdef BLOCK
    if (end - at >= BLOCK) {
        uint64_t stops = json_block_stops(at);
        if (stops == 0)
            return json_string_long(at + BLOCK, end);
        at += json_guess_first(stops);
        if (*at == '"')
            return at + 1;
    }
#endif
    return json_string_short(at, end);
}

#endif
