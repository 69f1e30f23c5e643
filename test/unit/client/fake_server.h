/* A server that does what a test tells it, on the loop of the client under test.
 *
 * Order: fake_open; then clients connect to `url`; fake_close, and the loop run to its end. */
#ifndef HERMES_TEST_FAKE_SERVER_H
#define HERMES_TEST_FAKE_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/buf.h"
#include "proto/ws_in.h"
#include "unit/client/fake_tls.h"

struct fake;

struct fake_conn {
    uv_tcp_t tcp;
    struct fake *fake;
    struct ws_reader *reader;
    struct fake_veil *veil; /* with TLS */
    struct buf plain;       /* decrypted last */
    struct buf head;
    uv_idle_t idle;
    struct buf slow; /* goes out byte by byte */
    size_t slow_at;
    unsigned number; /* the how many-th connection it is, from 1 */
    bool shaken;
    bool closed;
    bool ending; /* to be closed when all is sent */
    unsigned handles;
    struct fake_conn *next;
};

struct fake {
    uv_tcp_t listener;
    uv_loop_t *loop;
    struct ws_pool *frames;
    struct fake_conn *all;
    char url[64];
    unsigned connections;
    char bytes[65536]; /* what was read last */
    void *user;
    /* What it does; any may be NULL. */
    void (*opened)(struct fake_conn *conn);
    void (*text)(struct fake_conn *conn, const char *text, size_t len);
    void (*ping)(struct fake_conn *conn, const char *payload, size_t len);
    void (*pong)(struct fake_conn *conn, const char *payload, size_t len);
    void (*close)(struct fake_conn *conn, int code, const char *reason, size_t len);
    void (*ended)(struct fake_conn *conn);
    const char *answer; /* instead of the handshake's, then the connection is closed */
    const char *extra;  /* header lines to add to the handshake */
    bool wrong_accept;
    bool level1; /* selects no subprotocol */
    bool slowly; /* every byte it sends comes alone */
    bool deaf;   /* does not read behind the handshake */
    bool no_info;
    bool no_close; /* does not answer a close frame */
    bool no_pong;
    struct fake_tls *tls;   /* NULL: plain; owned */
    bool silent;            /* ends the connection instead of a handshake of TLS, */
    bool resets;            /* as a crash would */
    const char *plain;      /* answers this to TLS, as a server without it would */
    unsigned ended_orderly; /* connections whose TLS the client has ended */
};

void fake_open(struct fake *f, uv_loop_t *loop, const char *host);

/* From now on with TLS, or with other TLS. */
void fake_secure(struct fake *f, struct fake_tls *tls);
void fake_close(struct fake *f);

void fake_bytes(struct fake_conn *conn, const void *bytes, size_t len);
void fake_frame(struct fake_conn *conn, enum ws_opcode opcode, const void *payload, size_t len);
void fake_text(struct fake_conn *conn, const char *text);
void fake_end(struct fake_conn *conn, int code, const char *reason);

/* Ends the TCP connection: in order, or as a crash would. */
void fake_drop(struct fake_conn *conn);
void fake_reset(struct fake_conn *conn);

/* Reads on (see `deaf`). */
void fake_listen(struct fake_conn *conn);

#endif
