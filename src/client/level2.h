/* Level 2 of a client: what its texts mean, what it remembers for its next connection. */
#ifndef HERMES_CLIENT_LEVEL2_H
#define HERMES_CLIENT_LEVEL2_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/text.h"

struct hermes_client;

/* One text of an open connection; may end or free the client. False: it has to end, for the reason
 * that c->ending gives when it is still open. */
bool level2_heard(struct hermes_client *c, const char *text, size_t len);

/* Appends the commands that subscribe to what is wanted, from where each was; false when there is
 * no memory. */
bool level2_resubscribe(struct hermes_client *c, struct buf *to);

/* A connection is over, and what goes out on the next one is in c->out: tells of the publishes that
 * went out and were not answered. May free the client. */
void level2_ended(struct hermes_client *c);

#endif
