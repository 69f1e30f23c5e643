/* The newest log lines, for whoever looks in from outside: a ring of bytes.
 *
 * Each entry is one JSON object, {"number":N,"time":…,"level":…,"event":…,"fields":{…}}; numbers
 * start at 1 and have no gap.
 * Memory: all of it at the start; the oldest entries make room for new ones.
 * Threads: any. Lock: its own, which is taken under no other and takes none. */
#ifndef HERMES_BASE_LOG_RING_H
#define HERMES_BASE_LOG_RING_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/text.h"

struct log_ring {
    pthread_mutex_t lock;
    char *bytes; /* entries, one behind the other, wrapped around: struct log_entry and a text */
    size_t room;
    size_t start;
    size_t used;
    uint64_t next; /* the next entry's number */
};

/* NULL when there is no memory. */
struct log_ring *log_ring_new(size_t room);
void log_ring_free(struct log_ring *ring); /* NULL is ignored */

/* Keeps {"number":N and behind it `rest`, which begins with a comma and ends the object. One that
 * is larger than the ring is not kept, but counted. `level` is an enum log_level. */
void log_ring_add(struct log_ring *ring, unsigned level, struct text rest);

/* Appends the entries behind number `after` that are of that level or a higher one, comma between
 * them: the oldest ones first, up to `bytes` bytes of them but one at least. With a number that is
 * yet to come, of a broker that was there before, from the beginning. Returns the number to go on
 * behind. */
uint64_t log_ring_read(
    struct log_ring *ring, uint64_t after, unsigned level, size_t bytes, struct buf *out);

#endif
