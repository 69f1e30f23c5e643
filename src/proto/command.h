/* What a client asks for: one text frame decoded (PROTOCOL levels 1 and 2).
 *
 * Memory: none of its own; texts point into the frame, where escaped strings are decoded in place.
 *   `data` is the exact text of the value, of which not one byte is changed. Of a repeated key the
 *   last counts. A field that the command's type does not use is not looked at. */
#ifndef HERMES_PROTO_COMMAND_H
#define HERMES_PROTO_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

enum command_kind {
    COMMAND_PUBLISH,     /* topic, data; echo */
    COMMAND_SUBSCRIBE,   /* topic, topics or pattern; since, replay, policy, presence */
    COMMAND_UNSUBSCRIBE, /* topic, topics or pattern */
    COMMAND_TOPICS,      /* prefix, after, limit; pattern */
    COMMAND_PRESENCE,    /* topic */
    COMMAND_HISTORY,     /* topic; since, limit */
    COMMAND_AUTH,        /* token */
    COMMAND_PING,        /* nothing */
    COMMAND_BAD_JSON,    /* not JSON at all */
    COMMAND_MALFORMED,   /* JSON, but not an object; no usable topic (absent, no string, empty);
                          * type that is no string or unknown; neither type nor data; publish
                          * without data; a field of the wrong type or out of its bounds. The rest
                          * of the struct but `fault` and `id` means nothing then */
    COMMAND_BAD_TOPIC,   /* the topic, or one of several, has a lone surrogate escape: no UTF-8 can
                          * stand for it */
    COMMAND_BAD_PATTERN, /* the same of a pattern */
};

enum {
    COMMAND_LIMIT_DEFAULT = 100,
    COMMAND_LIMIT_MAX = 1000,
    COMMAND_ID_MAX = 64, /* bytes of a string, digits of an integer */
};

enum command_policy {
    COMMAND_POLICY_NONE,
    COMMAND_DISCONNECT,
    COMMAND_DROP_OLDEST,
    COMMAND_LATEST
};

struct command {
    _Alignas(16) enum command_kind kind; /* it is cleared in pieces of 16 bytes */
    unsigned limit;                      /* 1 to COMMAND_LIMIT_MAX */
    struct text topic;                   /* empty: `topics` or `pattern` is given */
    struct text data;
    struct text prefix; /* empty: all topics */
    struct text after;  /* empty: from the first */
    /* Level 2 only; clear at level 1. */
    const char *fault;   /* of COMMAND_MALFORMED: what is wrong, a sentence, static; else NULL */
    struct text id;      /* its raw JSON, to be given back; empty: none, or none that may be */
    struct text topics;  /* the raw JSON of an array of at least one string, none of them empty:
                          * for command_next_topic */
    struct text pattern; /* empty: none */
    struct text token;
    struct text epoch; /* of `since`, when has_since */
    uint64_t since;    /* its offset */
    uint32_t replay;   /* messages; more than that is cut to UINT32_MAX */
    uint16_t names;    /* in `topics` */
    uint8_t policy;    /* enum command_policy */
    bool has_since;
    bool presence;
    bool quiet; /* "echo":false */
};

/* `text` is one frame's payload: UTF-8, writable; `level` is 1 or 2. Never fails but by the kinds
 * above. */
void command_decode(struct command *c, char *text, size_t len, int level);

/* Takes the next name out of `*topics`, decoding it in place in the frame, so that an array can be
 * gone through once; false at the end. A name with a lone surrogate is given as empty. */
bool command_next_topic(struct text *topics, struct text *name);

#endif
