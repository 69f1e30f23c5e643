/* The server's answer to an opening handshake (RFC 6455 section 4.1), as the client checks it. */
#ifndef HERMES_CLIENT_RESPONSE_H
#define HERMES_CLIENT_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

enum { RESPONSE_MAX = 16384 };

enum response_result {
    RESPONSE_MORE,    /* no end yet, and still below RESPONSE_MAX bytes */
    RESPONSE_OPEN,    /* a WebSocket; behind `used` bytes come frames */
    RESPONSE_REFUSED, /* another status than 101: `status` and `phrase` */
    RESPONSE_BAD,     /* `fault` says in what */
};

struct response {
    int status;
    struct text phrase; /* points into the bytes */
    size_t used;
    bool selected;     /* the server speaks the subprotocol that was asked for */
    const char *fault; /* static */
};

/* Looks at all bytes so far. `accept` is the Sec-WebSocket-Accept that the key asks for,
 * `subprotocol` the one asked for or NULL. */
enum response_result response_read(
    struct response *r, const char *bytes, size_t len, const char *accept, const char *subprotocol);

#endif
