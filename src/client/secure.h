/* TLS of one connection, between the socket and what reads and writes frames.
 *
 * Order: secure_start when the socket is connected; from then on it reads, and calls what reads
 *   bytes of a plain connection with what it has decrypted; secure_free with the handle.
 * Memory: frames are encrypted as the system takes them, SECURE_CHUNK bytes at a time: what waits
 *   is queued as it is, so that it can go out on the next connection. */
#ifndef HERMES_CLIENT_SECURE_H
#define HERMES_CLIENT_SECURE_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/buf.h"

struct hermes_client;
struct backlog;
struct secure;

enum { SECURE_CHUNK = 65536 };

/* How far a backlog is encrypted, and how much of that the system has. */
struct veiled {
    size_t taken;  /* bytes of the backlog that are encrypted; */
    size_t chunk;  /* the last of them are */
    size_t bytes;  /* so many encrypted ones, */
    size_t lead;   /* the first of which stand for none of them, */
    size_t record; /* in records of so much, */
    size_t handed; /* and that many were handed over, but for what `rest` has */
    struct buf rest;
    bool flying; /* a request has it */
};

/* Begins the handshake with `host`; an error of libuv's. */
int secure_start(struct hermes_client *c, const char *host);
void secure_free(struct secure *s);

void secure_on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *bytes);

/* Writes all of the bytes; an error of libuv's. For the few that a new socket takes at once. */
int secure_write(struct hermes_client *c, const struct buf *bytes);

/* Writes what is queued, as connection_flush does; nothing is on its way yet. */
void secure_flush(struct hermes_client *c);

/* Writes what the socket takes at once of a first piece of the queue; how much that is. */
size_t secure_try(struct hermes_client *c);

/* Bytes of a backlog that the system has, in whole records. */
size_t secure_sent(const struct hermes_client *c, const struct backlog *b);

/* Tells the server that this is the end, if there is room for that. */
void secure_goodbye(struct hermes_client *c);

#endif
