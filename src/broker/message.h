/* What was published, encoded once, on its way to every worker with a subscriber: one message, or
 * several of one publisher to one topic in a row.
 *
 * Ownership: counted; the publisher holds one reference, each mail one more. Immutable once posted.
 * Threads: any. */
#ifndef HERMES_BROKER_MESSAGE_H
#define HERMES_BROKER_MESSAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct match_set;
struct registry_topic;

/* What a message with a `count` of 0 tells. */
enum message_event {
    EVENT_PRESENCE, /* a join or a leave, to who watches */
    EVENT_GAP, /* what has been missed, to all of level 2; the others are closed if it `lost` */
};

struct message {
    _Atomic uint32_t references;
    uint32_t count;                     /* of messages; one frame each. 0: a join or a leave */
    uint64_t offset;                    /* of the first; given under the stripe lock */
    uint64_t hash;                      /* of its topic */
    const struct registry_topic *topic; /* compared, never followed: it may be gone */
    struct match_set *matches;          /* the patterns that match its topic, held; NULL: none */
    uint64_t except;                    /* the client who does not get it, or 0 */
    uint8_t event;                      /* enum message_event, where `count` is 0 */
    bool lost;                          /* EVENT_GAP: messages are missing for certain */
    uint32_t len;
    uint32_t stamp; /* when it was published, for session/pulse.h; 0: nobody wants to know */
    char frames[];  /* `len` bytes, ready for the wire: RFC 6455 frames as at level 1 */
};

/* One message with room for a frame of `len` bytes, which the caller fills, and one reference; NULL
 * when there is no memory. */
struct message *message_new(size_t len);

/* No message yet, for the caller to append frames to: it raises `count` and `len` as it fills the
 * room. NULL when there is no memory. */
struct message *message_begin(size_t room);

/* Gives it another room, at least its `len`, while it has the one reference. NULL when there is no
 * memory: it stays as it is then. */
struct message *message_resize(struct message *m, size_t room);

static inline void message_hold(struct message *m, uint32_t times)
{
    atomic_fetch_add_explicit(&m->references, times, memory_order_relaxed);
}

void message_drop(struct message *m);

/* Takes apart the frame that starts at `frame`: unmasked, its length in 2, 4 or 10 bytes in front
 * of the data (RFC 6455 section 5.2). Returns the next one's start. */
static inline const char *message_frame(const char *frame, struct text *data)
{
    const unsigned char *at = (const unsigned char *)frame;
    size_t len = at[1];
    size_t head = 2;
    if (len == 126) {
        len = (size_t)at[2] << 8 | at[3];
        head = 4;
    } else if (len == 127) {
        len = 0;
        for (int i = 2; i < 10; i++)
            len = len << 8 | at[i];
        head = 10;
    }
    *data = (struct text){frame + head, len};
    return frame + head + len;
}

/* What it costs in memory, for accounts. */
static inline uint32_t message_weight(const struct message *m)
{
    return (uint32_t)sizeof *m + m->len;
}

#endif
