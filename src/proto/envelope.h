/* Deliveries at level 2: {"type":"message","topic":T,"data":D,"offset":n}, and "pattern":P behind
 * it when it came by a pattern.
 *
 * Memory: an envelope keeps the parts that are the same for all messages of a topic. */
#ifndef HERMES_PROTO_ENVELOPE_H
#define HERMES_PROTO_ENVELOPE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/text.h"

struct envelope {
    struct buf head;  /* up to the data */
    struct buf tail;  /* from behind the offset on */
    size_t topic_len; /* of the topic as a JSON string, quotes included */
};

/* How many bytes of the payload come before the topic's JSON string. */
#define ENVELOPE_TOPIC_AT (sizeof "{\"type\":\"message\",\"topic\":" - 1)

/* For messages of that topic; `pattern` may be empty. Keeps the memory it has. */
void envelope_set(struct envelope *e, struct text topic, struct text pattern);
void envelope_fini(struct envelope *e);

/* Appends one whole frame. With no memory nothing, and `failed` is set; also if envelope_set had
 * none. */
void envelope_append(struct buf *out, const struct envelope *e, struct text data, uint64_t offset);

#endif
