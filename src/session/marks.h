/* Where in the log which messages lie that a slow subscriber may lose: one mark a run of messages
 * of one topic that were appended side by side for level 2.
 *
 * Only for topics that have a subscriber here with a policy other than to disconnect.
 * Order: by position. Threads: the worker's. */
#ifndef HERMES_SESSION_MARKS_H
#define HERMES_SESSION_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
};

struct marks {
    struct mark *list; /* a row of `count` that begins at `head` */
    size_t head;
    size_t count;
    size_t cap;
};

void marks_fini(struct marks *m);

/* Behind all others; dies when there is no memory. */
void marks_add(struct marks *m, struct mark mark);

/* Forgets those that end at or before `base`, where the log begins now. */
void marks_trim(struct marks *m, uint64_t base);

/* The first one that ends behind `position`, or NULL; marks_next: the one behind it, or NULL. */
const struct mark *marks_from(const struct marks *m, uint64_t position);
const struct mark *marks_next(const struct marks *m, const struct mark *mark);

/* How many there are that end behind `position`. */
size_t marks_behind(const struct marks *m, uint64_t position);

/* Bytes of memory. */
static inline size_t marks_size(const struct marks *m)
{
    return m->cap * sizeof *m->list;
}

#endif
