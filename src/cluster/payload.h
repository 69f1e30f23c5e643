/* What goes through a channel of Redis: messages of one topic, numbered by the script that
 * published them, or a join or leave.
 *
 *   epoch 16, offset 16          hexadecimal digits, put in front by the script; of an event: the
 *                                broker it is of, and how many events that has had
 *   kind 1, count 8, except 16, topic length 4, topic, frames
 *
 * It comes from a server that others may write to as well: every length is checked. */
#ifndef HERMES_CLUSTER_PAYLOAD_H
#define HERMES_CLUSTER_PAYLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

enum payload_kind { PAYLOAD_MESSAGES = 'm', PAYLOAD_EVENT = 'j' };

enum { PAYLOAD_PLACE = 32, PAYLOAD_HEAD = 29, HEX_DIGITS = 16 };

struct payload {
    enum payload_kind kind;
    uint64_t epoch;
    uint64_t offset; /* of the first message */
    uint32_t count;  /* of messages, one frame each; 0 of an event, which is one frame */
    uint64_t except; /* the client who does not get it, or 0 */
    struct text topic;
    struct text frames;
};

/* Writes what stands between the place and the topic. */
void payload_head(const struct payload *p, char head[PAYLOAD_HEAD]);

/* False when it is none; the texts are within `bytes`. */
bool payload_read(struct text bytes, struct payload *p);

/* Whether these are so many whole frames of text, and nothing else. */
bool payload_frames_good(struct text frames, uint32_t count);

void hex_write(uint64_t number, char digits[HEX_DIGITS]);
bool hex_read(struct text digits, uint64_t *number); /* 1 to 16 of them */

#endif
