/* What a session lost and is not told of yet: one note a run of lost messages of one topic.
 *
 * Order: by the place in the log where they lay. A gap frame at that very place is behind all that
 *   came before, an ack of the subscription too, and before all that came after.
 * Memory: counts in the log's `charged` and `owed`.
 * Threads: the worker's. */
#ifndef HERMES_SESSION_ARREARS_H
#define HERMES_SESSION_ARREARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/byte_log.h"

struct note {
    uint64_t place;
    uint64_t topic; /* its hash */
    uint64_t from;  /* offsets */
    uint64_t to;
    uint32_t name_len;
    char name[]; /* the topic as JSON, quotes included */
};

/* What is to be noted. */
struct loss {
    uint64_t place;
    uint64_t topic;
    uint64_t from;
    uint64_t to;
    uint64_t name; /* position in the log */
    uint32_t name_len;
    uint32_t policy; /* by which it was lost; not noted */
};

struct arrears {
    struct note **notes; /* a row of `count` that begins at `at` */
    size_t at;
    size_t count;
    size_t cap;
    size_t charged;
    uint64_t *seams; /* places where a subscription begins, in order */
    size_t seam_count;
    size_t seam_cap;
    size_t kept;   /* runs left by the last conflation, */
    uint64_t seen; /* which was of the log up to here */
};

/* Makes them where there are none; false when there is no memory. */
bool arrears_take(struct arrears **a, struct byte_log *log);
void arrears_free(struct arrears *a, struct byte_log *log);

/* Losses that follow a noted one of their topic without a gap extend its note; `losses` are in
 * order of their places. False when there is no memory: what was lost is not known any more. */
bool arrears_add(struct arrears *a, struct byte_log *log, const struct loss *losses, size_t count);

/* A subscription begins at that position, behind all that was lost so far: no note goes across it.
 * False when there is no memory to remember it. */
bool arrears_part(struct arrears *a, struct byte_log *log, uint64_t position);

/* Whether a subscription begins between these places, of which `from` comes first. */
bool arrears_parted(const struct arrears *a, uint64_t from, uint64_t to);

/* The first note, or NULL; arrears_pop forgets it. */
static inline const struct note *arrears_first(const struct arrears *a)
{
    return a && a->count > 0 ? a->notes[a->at] : NULL;
}
void arrears_pop(struct arrears *a, struct byte_log *log);

#endif
