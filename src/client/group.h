/* What the clients of one loop share: buffers, randomness, deadlines, and the list of those that
 * have something to do before the loop waits again.
 *
 * Threads: the loop's. */
#ifndef HERMES_CLIENT_GROUP_H
#define HERMES_CLIENT_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/list.h"
#include "loop/wheel.h"
#include "proto/ws_in.h"

enum {
    GROUP_READ_BYTES = 65536,
    GROUP_SPARES = 64,
    GROUP_SPARE_BYTES = 65536, /* a larger buffer is not kept */
    GROUP_RANDOM_BYTES = 4096,
    GROUP_PROBLEM = 512,
};

struct trust;

struct hermes_client_group {
    uv_loop_t *loop;
    struct wheel wheel;
    uv_idle_t turn;  /* runs while `due` is not empty: before the loop waits for events */
    struct list due; /* clients with bytes to write or a step to take */
    struct ws_pool *frames;
    struct hash_key key;
    struct buf text;                 /* one outgoing text while it is put together */
    struct buf rows;                 /* one decoded name of a topics answer */
    struct buf names;                /* what was decoded of one text at level 2 */
    struct buf spares[GROUP_SPARES]; /* empty outgoing buffers with their memory */
    unsigned spare_count;
    struct trust *trusts; /* see client/trust.h */
    unsigned clients;
    unsigned open_handles;
    bool freed;
    char problem[GROUP_PROBLEM]; /* of the TLS options that were named last and are no good */
    size_t random_used;
    uint8_t random[GROUP_RANDOM_BYTES];
    char bytes[GROUP_READ_BYTES]; /* what was read last */
};

/* Up to 256 random bytes from the system. */
void group_random(struct hermes_client_group *g, void *out, size_t len);

/* Puts a client on the list of those that are called (client_turn) before the loop waits. */
void group_due(struct hermes_client_group *g, struct list *node);

/* Gives an empty buffer memory that another has left; takes it back, emptied. */
void group_lend(struct hermes_client_group *g, struct buf *b);
void group_take_back(struct hermes_client_group *g, struct buf *b);

/* A client of the group is no more. */
void group_leave(struct hermes_client_group *g);

#endif
