/* The tokens that an opening handshake carries: where Authorization, a subprotocol and the query
 * may hold one each.
 *
 * Threads: any, each with its own. */
#ifndef HERMES_SESSION_CARRIED_H
#define HERMES_SESSION_CARRIED_H

#include "proto/http_head.h"

struct carried {
    unsigned count;
    struct text token;           /* the last one */
    char decoded[HTTP_HEAD_MAX]; /* of the query's, if it is that */
};

void carried_find(struct carried *c, const struct http_head *head);

#endif
