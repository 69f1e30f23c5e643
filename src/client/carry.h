/* What is left of a connection's outgoing frames when it breaks, and is to go out on the next one.
 */
#ifndef HERMES_CLIENT_CARRY_H
#define HERMES_CLIENT_CARRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Appends the whole masked frames of `from` of which not all bytes were sent (its first `sent`
 * were) to `to`: text frames only, and no commands, which end with their connection. `from` begins
 * and ends at the edge of a frame. Returns whether one of these was sent in part; it is appended
 * only `again`. */
bool carry(struct buf *to, const struct buf *from, size_t sent, bool again);

/* Text frames that are not commands, of which no byte lies before `sent`. */
size_t carry_count(const struct buf *from, size_t sent);

/* The number in the id of the first frame that begins with one of ours (client/pending.h); 0 when
 * none does. */
uint64_t carry_first_number(const struct buf *from);

#endif
