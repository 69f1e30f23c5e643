/* How long to wait before connecting again: exponential back-off with full jitter, so that clients
 * that lost the same server at the same moment do not come back at the same moment. */
#ifndef HERMES_CLIENT_BACKOFF_H
#define HERMES_CLIENT_BACKOFF_H

#include <stdint.h>

/* Milliseconds from 0 to `first` doubled `attempt` times, `most` at the most; `random` is any 32
 * random bits. */
static inline uint32_t backoff_ms(uint32_t first, uint32_t most, unsigned attempt, uint32_t random)
{
    uint64_t bound = first;
    while (attempt-- > 0 && bound < most)
        bound *= 2;
    if (bound > most)
        bound = most;
    return (uint32_t)((bound + 1) * random >> 32);
}

#endif
