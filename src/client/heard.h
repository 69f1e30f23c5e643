/* Level 2: one text of the server's, taken apart. Deliveries are what most of them are, so they
 * have a way of their own.
 *
 * Memory: texts point into the frame, which is not changed; what is written with escapes there is
 *   decoded into `space`. */
#ifndef HERMES_CLIENT_HEARD_H
#define HERMES_CLIENT_HEARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/text.h"
#include "hermes/client.h"

enum heard_type {
    HEARD_OTHER, /* no JSON object with a type that is known, or something it needs is not there */
    HEARD_MESSAGE,
    HEARD_GAP,
    HEARD_JOIN,
    HEARD_LEAVE,
    HEARD_ACK_PUBLISH,
    HEARD_ACK_SUBSCRIBE,
    HEARD_ACK_UNSUBSCRIBE,
    HEARD_RECONNECT,
    HEARD_ERROR,
    HEARD_INFO,
    HEARD_TOPICS,
    HEARD_HISTORY,
    HEARD_PRESENCE,
    HEARD_ACK_AUTH,
};

/* What is not there is NULL with 0, or 0. */
struct heard {
    enum heard_type type;
    enum hermes_recovered recovered;
    struct text topic;
    struct text pattern;
    struct text epoch;
    struct text message;
    struct text code;
    struct text client;
    struct text next;
    struct text id;   /* as it stands there */
    struct text data; /* as it stands there */
    struct text rows; /* what is between the brackets of `topics`, `messages` or `clients` */
    uint64_t offset;
    uint64_t from;
    uint64_t to;
    uint64_t subscribers;
    uint64_t expires;
    uint64_t after_ms;
};

/* Whether the text is a delivery in exactly the form in which servers write them, without white
 * space, and without escapes in its names; `out` is filled then. */
bool heard_delivery(struct hermes_delivery *out, const char *text, size_t len);

/* Any text, in any form. Of a repeated key the last counts. False when there is no memory. */
bool heard_read(struct heard *h, const char *text, size_t len, struct buf *space);

#endif
