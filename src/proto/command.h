/* What a client asks for: one text frame decoded (PROTOCOL level 1, and the topics command).
 *
 * Memory: none of its own but what jansson needs for the topics command; texts point into the
 *   frame, where escaped strings are decoded in place. `data` is the exact text of the value, of
 *   which not one byte is changed. Of a repeated key the last counts. */
#ifndef HERMES_PROTO_COMMAND_H
#define HERMES_PROTO_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

enum command_kind {
    COMMAND_PUBLISH,     /* topic, data */
    COMMAND_SUBSCRIBE,   /* topic */
    COMMAND_UNSUBSCRIBE, /* topic */
    COMMAND_TOPICS,      /* prefix, after, limit */
    COMMAND_BAD_JSON,    /* not JSON at all */
    COMMAND_MALFORMED,   /* JSON, but not an object; no usable topic (absent, no string, empty);
                          * type that is no string or unknown; neither type nor data; publish
                          * without data; topics with a field of the wrong type or limit */
    COMMAND_BAD_TOPIC,   /* the topic has a lone surrogate escape: no UTF-8 can stand for it */
};

enum { TOPICS_LIMIT_DEFAULT = 100, TOPICS_LIMIT_MAX = 1000 };

struct command {
    enum command_kind kind;
    struct text topic;
    struct text data;
    struct text prefix; /* empty: all topics */
    struct text after;  /* empty: from the first */
    unsigned limit;     /* 1 to TOPICS_LIMIT_MAX */
};

/* `text` is one frame's payload: UTF-8, writable. Never fails but by the kinds above. */
void command_decode(struct command *c, char *text, size_t len);

#endif
