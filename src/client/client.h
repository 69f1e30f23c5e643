/* One client inside: the states of its connection, and what the parts of it call each other.
 *
 * Order: idle, dialling, open, closing, and after a back-off (waiting) dialling again, or idle.
 *   connection_end leads out of any of them.
 * Ownership: the client owns all it points to but `group` and `events`. It is released when it has
 *   been freed, its handle is closed, and no callback of it runs. */
#ifndef HERMES_CLIENT_CLIENT_H
#define HERMES_CLIENT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "client/answers.h"
#include "client/group.h"
#include "client/pending.h"
#include "client/secure.h"
#include "client/wanted.h"
#include "hermes/client.h"

enum client_state {
    CLIENT_IDLE,
    CLIENT_DIALLING,
    CLIENT_OPEN,
    CLIENT_CLOSING, /* our close frame is queued or sent */
    CLIENT_WAITING, /* for the next attempt */
    CLIENT_ENDING,  /* on_close is due, with `ending` */
};

struct dial;

/* Bytes that the system did not take at once. */
struct backlog {
    uv_write_t request;
    struct hermes_client *client;
    struct buf bytes; /* begins with a frame's first byte */
    /* TLS, see client/secure.c. */
    bool secure;
    struct veiled veiled;
};

struct client_settings {
    char *url; /* these three are one allocation, with `url` at its start */
    char *source;
    char *subprotocol;
    size_t max_queued;
    uint32_t connect_ms;
    uint32_t ping_ms;
    uint32_t pong_ms;
    uint32_t close_ms;
    uint32_t retry_ms;
    uint32_t retry_max_ms;
};

struct trust;
struct secure;

struct hermes_client {
    uv_tcp_t tcp;
    struct hermes_client_group *group;
    const struct hermes_client_events *events;
    void *user;
    struct list due;
    struct deadline deadline; /* one for every state, see client_deadline */
    struct dial *dial;        /* while dialling */
    struct trust *trust;      /* NULL: no TLS */
    struct secure *secure;    /* TLS of the connection; goes with the handle */
    struct ws_reader *reader;
    struct backlog *backlog;
    struct buf out;         /* frames to write; without a connection, to write on the next */
    size_t out_sent;        /* bytes of its first frames that were written: 0 but for a moment */
    struct answers answers; /* level 1 */
    struct pending pending; /* level 2 */
    struct wanted wanted;
    struct client_settings settings;
    char *token;        /* of the next handshake; NULL: none */
    uint64_t opened_at; /* both by uv_now */
    uint64_t heard_at;
    size_t left;         /* closing: bytes that were queued at the last look */
    const char *ending;  /* why it has to end, static */
    char *peer_reason;   /* of the server's close frame; NULL when it gave none */
    uint16_t peer_code;  /* of it; 0: none has come */
    uint16_t close_code; /* of ours, when the end was asked for here; 0: it was not */
    uint8_t peer_reason_len;
    uint8_t state;
    uint8_t level;
    uint8_t tls;    /* enum hermes_tls_problem, for on_close */
    uint8_t busy;   /* callbacks that run */
    bool told_when; /* the server said when to come back: after `after_ms` */
    uint32_t after_ms;
    uint64_t told_at;  /* by uv_now */
    unsigned attempts; /* in a row that did not last */
    bool handle;       /* tcp is initialised and not yet closed */
    bool stay;         /* connect again when a connection ends */
    bool opened;       /* on_open was called for this connection */
    bool first;        /* no text has come on it */
    bool cut;          /* a frame was cut by the end of the connection before */
    bool pinged;       /* and nothing has come since */
    bool overdue;      /* nor within the time for it */
    bool paused;
    bool freed;
    bool fresh; /* no server has had the token yet */
    bool known; /* it has been open before */
};

/* Every entry from the loop is between these two, so that a callback may free the client. */
void client_enter(struct hermes_client *c);
void client_leave(struct hermes_client *c);

/* Called by the group. */
void client_turn(struct hermes_client *c);
void client_deadline(struct hermes_client *c);

/* Sets the one deadline; HERMES_CLIENT_NEVER unsets it. */
void client_set_deadline(struct hermes_client *c, uint32_t ms);

/* Closes the handle; the state decides what happens when it is closed. */
void client_close_handle(struct hermes_client *c);

/* ---- client/dial.c ---- */

/* NULL when there is no memory. */
struct dial *dial_new(const struct hermes_client *c);
void dial_free(struct dial *d);

/* Bytes of the server's half of the handshake. */
void dial_bytes(struct hermes_client *c, const char *bytes, size_t len);

/* The connection broke before the handshake was done, by an error of libuv's: the next address. */
void dial_failed(struct hermes_client *c, int error);

/* TLS broke before that: the next address, or the end, as it may change. */
void dial_distrusted(struct hermes_client *c, const char *problem);

/* TLS is ready: sends the request; an error of libuv's. */
int dial_request(struct hermes_client *c);

/* Takes the next step: resolve, or connect to the next address. The handle must be closed. */
void dial_go(struct hermes_client *c);

/* ---- client/token.c ---- */

/* Whether it can stand in a header. */
bool token_valid(const char *token, size_t len);

/* Takes a copy of it for the handshakes to come; false, and nothing else, when there is no memory.
 */
bool token_keep(struct hermes_client *c, const char *token, size_t len);

/* Wipes it. */
void token_forget(struct hermes_client *c);

/* ---- client/connection.c ---- */

/* The handshake is done; `bytes` came behind it. */
void connection_open(struct hermes_client *c, char *bytes, size_t len);

/* Writes what is queued. */
void connection_flush(struct hermes_client *c);

/* All that was queued is written; calls back. */
void connection_drained(struct hermes_client *c);

/* The silence was long, or closing does not get on. */
void connection_deadline(struct hermes_client *c);

/* It is over, whatever it was: what remains to be sent is put aside, the handle closed, on_close
 * called. `retry` false: for a reason that a new attempt would not change. */
void connection_end(struct hermes_client *c, const char *reason, bool retry);

/* ---- client/read.c ---- */

/* Bytes of an open connection; payloads are unmasked in place. */
void connection_feed(struct hermes_client *c, char *bytes, size_t len);

/* Starts reading, for the handshake too; an error of libuv's. */
int connection_read(struct hermes_client *c);

/* Nothing more comes: an error of libuv's, UV_EOF among them. */
void connection_lost(struct hermes_client *c, int error);

/* ---- client/send.c ---- */

/* Appends one masked frame to `to`; false, and nothing else, when there is no memory. */
bool append_frame(struct hermes_client *c, struct buf *to, enum ws_opcode opcode,
    const void *payload, size_t len);

/* Appends one masked frame and has it written in this turn; false when there is no memory. */
bool send_frame(struct hermes_client *c, enum ws_opcode opcode, const void *payload, size_t len);

/* Sends what the group's text buffer holds as one frame, if the queue has room. */
int send_composed(struct hermes_client *c);

bool topic_valid(struct text topic);

/* ---- client/commands.c ---- */

/* Appends a subscribe command to `to`, and expects its answer; false when there is no memory. */
bool send_subscribe(struct hermes_client *c, struct buf *to, struct text topic);

/* The same at level 2. */
bool send_subscribe2(struct hermes_client *c, struct buf *to, struct subscription *s);

/* Whether frames may come and go. */
static inline bool client_connected(const struct hermes_client *c)
{
    return !c->freed && (c->state == CLIENT_OPEN || c->state == CLIENT_CLOSING);
}

/* Level 1: whether answers are told apart from deliveries. */
static inline bool client_tells_apart(const struct hermes_client *c)
{
    return c->events->on_data || c->events->on_answer;
}

#endif
