/* Which frames of a level 1 server are answers: the ones that commands still wait for, in order.
 *
 * Memory: a queue that is empty holds none. */
#ifndef HERMES_CLIENT_ANSWERS_H
#define HERMES_CLIENT_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/text.h"
#include "hermes/client.h"

enum expected {
    EXPECT_SUBSCRIBED,
    EXPECT_UNSUBSCRIBED, /* or "Not subscribed to" */
    EXPECT_TOPICS,
};

struct answers {
    struct buf queue;
    size_t head; /* of the queue: what is before it has been answered */
};

/* Where in its life a connection stands. */
enum answers_when {
    ANSWERS_FIRST,      /* no text has come yet: the info */
    ANSWERS_ALONE,      /* the client has no subscription: there are no deliveries */
    ANSWERS_SUBSCRIBED, /* deliveries may come */
};

/* A command was sent. `topic` is empty for EXPECT_TOPICS. False when there is no memory. */
bool answers_expect(struct answers *a, enum expected kind, struct text topic);

/* Takes back the newest expectation, whose command was not sent after all. */
void answers_unexpect(struct answers *a, struct text topic);

/* Whether `text` is an answer; when it is, `out` is filled (but for `space`) with texts that are
 * decoded in place, and what it answers is no longer expected, nor anything before it. A delivery
 * is not changed by one byte. */
bool answers_match(
    struct answers *a, enum answers_when when, char *text, size_t len, struct hermes_answer *out);

/* Forgets all: the connection is over. */
void answers_clear(struct answers *a);

#endif
