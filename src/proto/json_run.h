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

/* Bytes of DF and more for the stops alone. Flipping FD makes E0 and more of the control
 * characters, DF of the quote, and lets nothing else come there (the space becomes DD); the
 * backslash, A1 then, is lifted. */
static inline block json_block_lifted(const char *at)
{
    block flipped = block_load(at) ^ block_all(0xFD);
    return block_max(flipped, block_equal(flipped, block_all('\\' ^ 0xFD)));
}

/* The flags of the stops in a block that is lifted. */
static inline uint64_t json_block_stops(block lifted)
{
    return block_flags(block_minus(lifted, block_all(0xDF - 0x80)));
}

#endif

/* As json_run_short; for a run that is probably no longer than a block, or else very long. */
static inline const char *json_run_end(const char *at, const char *end)
{
#ifdef BLOCK
    if (end - at >= BLOCK) {
        uint64_t stops = json_block_stops(json_block_lifted(at));
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
        uint64_t stops = json_block_stops(json_block_lifted(at));
        if (stops == 0)
            return json_string_long(at + BLOCK, end);
        at += block_first(stops);
        if (*at == '"')
            return at + 1;
    }
#endif
    return json_string_short(at, end);
}

#endif
