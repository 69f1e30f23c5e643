/* The server's half of the opening handshake (RFC 6455 section 4.2), and the plain HTTP answers
 * that a person or a load balancer gets on the same port. */
#ifndef HERMES_PROTO_HANDSHAKE_H
#define HERMES_PROTO_HANDSHAKE_H

#include <stdbool.h>

#include "base/buf.h"
#include "proto/http_head.h"

enum request_kind {
    REQUEST_UPGRADE, /* a good opening handshake: answer handshake_accept */
    REQUEST_HEALTHZ, /* GET or HEAD /healthz without an upgrade */
    REQUEST_READYZ,
    REQUEST_EVENTS,    /* GET or HEAD /sse without an upgrade */
    REQUEST_PREFLIGHT, /* OPTIONS /sse: a page asks whether it may ask */
    REQUEST_REFUSED,   /* answer `status` */
};

struct request {
    enum request_kind kind;
    int status;           /* of a refusal: 400, 404, 405, 426 */
    const char *reason;   /* of a refusal: one sentence for a person, static */
    bool head_only;       /* HEAD: no body in the answer */
    struct text key;      /* of an upgrade: Sec-WebSocket-Key */
    struct text origin;   /* of an upgrade, or events: the page that a browser asks for; `at` NULL:
                           * none said */
    struct text protocol; /* the chosen subprotocol, "hermes.v2", "hermes.v1" or empty; static */
};

/* Decides what a request head asks for. */
void request_read(struct request *r, const struct http_head *head);

/* Appends the 101 answer. */
void handshake_accept(struct buf *out, const struct request *r);

/* Appends a whole answer with a plain text body (`text` and a newline), Content-Length and
 * Connection: close; 426 gets Upgrade and Sec-WebSocket-Version: 13, 429 and 503 get Retry-After:
 * 5, 405 gets Allow. */
void http_answer(struct buf *out, int status, const char *text, bool head_only);

/* The same with another body. */
struct http_answer {
    int status;
    const char *type;
    const char *allow;   /* the methods that a 405 names */
    const char *headers; /* further lines with their line ends */
    struct text body;
    unsigned retry_s; /* what Retry-After says; 0: 5 */
    bool head_only;
};
void http_answer_as(struct buf *out, const struct http_answer *answer);

/* Sec-WebSocket-Accept for a key: 28 characters and a terminator. */
void handshake_accept_value(char out[29], struct text key);

#endif
