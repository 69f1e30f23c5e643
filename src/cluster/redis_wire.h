/* The bytes of one connection to a Redis server: finds its addresses, connects to one after the
 * other until one answers, shakes TLS where the url says so, reads and writes.
 *
 * Order: redis_wire_open, then `ready` or `broken`; from `ready` on `bytes` and `read`, until
 *   `broken`, after which nothing comes any more. redis_wire_close at any time, in a callback too.
 * Ownership: its opener's, until redis_wire_close; the name's lookup and the socket's handle go by
 *   themselves behind that, when the loop is done with them.
 * Threads: the loop's. */
#ifndef HERMES_CLUSTER_REDIS_WIRE_H
#define HERMES_CLUSTER_REDIS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/text.h"
#include "cluster/redis_url.h"

struct tls_trust;
struct redis_wire;

struct redis_wire_events {
    void (*ready)(void *user);
    /* Of one read; good until `read`. */
    void (*bytes)(void *user, const char *bytes, size_t len);
    /* All bytes of one read were given. */
    void (*read)(void *user);
    /* The socket takes more, after it did not take all. */
    void (*room)(void *user);
    /* One line for people. */
    void (*broken)(void *user, const char *reason);
};

/* Each address gets `patience_ms`. NULL: no memory. */
struct redis_wire *redis_wire_open(uv_loop_t *loop, const struct redis_url *url,
    struct tls_trust *trust, uint64_t patience_ms, const struct redis_wire_events *events,
    void *user);
void redis_wire_close(struct redis_wire *w);

/* How many of the bytes it has taken: all, or `room` will be called. Calls nothing: what is wrong
 * shows when it is read. */
size_t redis_wire_write(struct redis_wire *w, struct text bytes);

/* Whether what comes is read. Else it stays in the socket, and the server has to wait. */
void redis_wire_read(struct redis_wire *w, bool yes);

/* Reads once what is in the socket by now, whether or not it is watched. Calls. */
void redis_wire_look(struct redis_wire *w);

/* Bytes that were taken and are still here. */
size_t redis_wire_held(const struct redis_wire *w);

#endif
