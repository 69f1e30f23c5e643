/* The receiving half of a WebSocket: bytes in, whole messages and control frames out
 * (RFC 6455 sections 5 to 7), for the server's side and the client's.
 *
 * Memory: nothing at rest. A reader (with wslay's frame context in it) is taken from the pool when
 *   bytes come that are no whole frame, and given back as soon as no frame and no fragmented
 *   message is half received. A declared length costs nothing: the assembly buffer grows with
 *   the bytes that have come, and never past the limit.
 * Threads: a pool and its readers belong to one loop. */
#ifndef HERMES_PROTO_WS_IN_H
#define HERMES_PROTO_WS_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ws_opcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10,
};

/* Close codes. */
enum {
    WS_PROTOCOL_ERROR = 1002,
    WS_NO_CODE = 1005, /* stands for a close frame without a body; it never goes over the wire */
    WS_NOT_UTF8 = 1007,
    WS_POLICY = 1008,
    WS_TOO_BIG = 1009,
    WS_NO_MEMORY = 1011,
    WS_TRY_LATER = 1013,
};

/* What a stream of frames is made of. Payloads are unmasked, writable, and valid during the call
 * only. Text and close reasons have been checked to be UTF-8. A callback that returns false ends
 * the feeding: the rest of the bytes is dropped and the reader released. It may then have freed
 * whatever `*reader` is part of, but not the pool; ws_release inside it does nothing. */
struct ws_events {
    bool (*message)(void *user, enum ws_opcode opcode, char *payload, size_t len);
    bool (*ping)(void *user, const char *payload, size_t len);
    bool (*pong)(void *user, const char *payload, size_t len);
    /* Nothing behind a close frame is looked at, and nothing may be fed after it; what is returned
     * makes no difference. `code` is WS_NO_CODE when the frame had no body; otherwise
     * it is one that may stand on the wire (1000-1003, 1007-1014, 3000-4999). */
    bool (*close)(void *user, int code, const char *reason, size_t len);
};

struct ws_pool;
struct ws_reader;

struct ws_settings {
    size_t max_message;     /* bytes of one message, all fragments together; more is 1009; 0: any */
    size_t max_held;        /* bytes that all half-received messages of the pool may take
                             * together; more is 1013 for who sends on; 0: any */
    unsigned max_fragments; /* frames of one message; more is 1008; 0: any */
    bool server;            /* true: frames must be masked; false: they must not be */
    unsigned spare;         /* readers kept for reuse */
};

/* NULL when there is no memory. */
struct ws_pool *ws_pool_new(const struct ws_settings *settings);
void ws_pool_free(struct ws_pool *pool);

/* Feeds `len` bytes, over which payloads are unmasked. `*reader` is NULL at rest, and stays the
 * caller's to pass again; it is NULL again after an error or when a callback ended the feeding.
 * Returns 0, or the close code that answers the peer's fault: 1002 (protocol), 1007 (not UTF-8, as
 * soon as it shows), 1008 (too many fragments), 1009 (too big, at the header where the header says
 * so), 1011 (no memory), 1013 (too much half received by all together). */
int ws_feed(struct ws_pool *pool, struct ws_reader **reader, char *bytes, size_t len,
    const struct ws_events *events, void *user);

/* Gives a half-fed reader back, when its connection goes. */
void ws_release(struct ws_pool *pool, struct ws_reader **reader);

#endif
