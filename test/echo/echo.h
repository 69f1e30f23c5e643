/* An echo server on Hermes's net and proto layers, without the broker: for conformance suites,
 * which want their messages back.
 *
 * Order: echo_open, uv_run (until echo_stop and until the last client is gone), echo_fini.
 * Threads: the loop's. */
#ifndef HERMES_ECHO_ECHO_H
#define HERMES_ECHO_ECHO_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/list.h"
#include "net/poller.h"
#include "proto/ws_in.h"

enum { ECHO_READ = 64 * 1024, ECHO_LISTENERS = 16 };

struct echo_listener {
    uv_poll_t poll;
    int fd;
};

struct echo {
    uv_loop_t *loop;
    struct poller poller; /* of the clients' sockets */
    struct ws_pool *readers;
    struct list clients;
    struct echo_listener listeners[ECHO_LISTENERS];
    int listener_count;
    int port;
    char buffer[ECHO_READ];
};

/* Listens; port 0: any free one, and `port` tells which. False: one sentence for a person in
 * `error`, and nothing is left. */
bool echo_open(struct echo *e, uv_loop_t *loop, const char *host, int port, size_t max_message,
    char *error, size_t error_size);

/* Accepts no more, and closes all clients with 1001. */
void echo_stop(struct echo *e);

/* After the loop has run out; runs it once more. */
void echo_fini(struct echo *e);

/* client.c: a client on an accepted socket, which it takes over (closing it without memory). */
void client_open(struct echo *e, int fd);

/* client.c: its socket can be read from or written to. */
void client_ready(struct conn *conn, int readiness);

/* client.c: closes all with 1001. */
void clients_close(struct echo *e);

#endif
