/* Where in the log which messages lie that a slow subscriber may lose: one mark a run of messages
 * of one topic that were appended side by side for level 2.
 *
 * Only for topics that have a subscriber here with a policy other than to disconnect.
 * Order: by position. A mark has a number, one more than the one before it, and knows the next one
 *   of its topic, so that whether it is the newest is known without a look at those behind it.
 * Memory: in blocks, so that it grows and shrinks by little at a time.
 * Threads: the worker's. */
#ifndef HERMES_SESSION_MARKS_H
#define HERMES_SESSION_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"

enum { MARKS_BLOCK = 512 };

struct mark {
    uint64_t start;      /* positions in the log: of the first frame, */
    uint64_t last;       /* of the last frame, */
    uint64_t end;        /* and behind it */
    uint64_t topic;      /* hash of the messages' topic */
    uint64_t first;      /* offset of the first; the others follow without a gap */
    uint64_t subscribed; /* hash of the topic or pattern by which it came */
    uint32_t serial;     /* of that, see struct local_topic */
    uint32_t topic_len;  /* of the topic's JSON string in each frame, see proto/envelope.h */
    uint32_t count;
    uint32_t ahead; /* the next mark of the topic has a number so much higher; 0: none yet */
};

struct marks {
    struct mark **blocks; /* a row of `used` that begins at `head`; */
    size_t head;
    size_t used;
    size_t cap;
    uint64_t begin; /* number of the first mark, in the first block; */
    size_t count;
    struct map newest; /* by topic: number + 1 of its last mark */
};

void marks_fini(struct marks *m);

/* Behind all others; dies when there is no memory. */
void marks_add(struct marks *m, struct mark mark);

/* Forgets those that end at or before `base`, where the log begins now. */
void marks_trim(struct marks *m, uint64_t base);

/* The mark of that number, which is there. */
static inline struct mark *marks_at(const struct marks *m, uint64_t number)
{
    return &m->blocks[m->head + number / MARKS_BLOCK - m->begin / MARKS_BLOCK]
                     [number % MARKS_BLOCK];
}

/* One more than the last one's number. */
static inline uint64_t marks_end(const struct marks *m)
{
    return m->begin + m->count;
}

/* The number of the first one that ends behind `position`, or marks_end. */
uint64_t marks_from(const struct marks *m, uint64_t position);

/* How many there are that end behind `position`. */
static inline size_t marks_behind(const struct marks *m, uint64_t position)
{
    return (size_t)(marks_end(m) - marks_from(m, position));
}

/* Bytes of memory. */
size_t marks_size(const struct marks *m);

#endif
