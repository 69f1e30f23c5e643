/* Why a client got a message, or did not: what follows from the facts of its worker and from how
 * things are now. It decides and tells; whoever calls it has looked (session/explain.h).
 *
 * When the message came is known only as far as facts tell: each fact of its topic says which
 * offset had come by then, so the message lies behind some facts and in front of others (struct
 * bounds). What cannot be told from that is not guessed: VERDICT_FORGOTTEN. */
#ifndef HERMES_SESSION_VERDICT_H
#define HERMES_SESSION_VERDICT_H

#include "base/buf.h"
#include "session/facts.h"

enum verdict_kind {
#define VERDICT(name, text) VERDICT_##name,
#include "session/verdicts.def"
#undef VERDICT
};

/* What a client may have got the message by: the topic, or a pattern that matches it. */
struct reason {
    struct text name;
    uint64_t hash;
    bool is_pattern;
    bool now; /* it is subscribed */
    enum policy policy;
};

enum queued { QUEUED_NO, QUEUED_YES, QUEUED_PERHAPS };

struct verdict_case {
    struct text topic;
    uint64_t client;
    uint64_t offset; /* of the message; not 0 */
    /* How it is now: */
    bool known;      /* such a client has been here */
    bool open;       /* and is still */
    bool enveloped;  /* speaks level 2 */
    bool may;        /* subscribe to the topic */
    bool on_its_way; /* the message is in the worker's mail */
    bool untold;     /* a gap frame with the message is still to be sent */
    bool catching;   /* it is given the past, and `next` comes next */
    uint64_t next;
    uint64_t unsent;    /* bytes of its queue */
    uint64_t delivered; /* of the topic, to those who subscribe by its name; 0: not known */
    enum queued queued;
    uint64_t epoch; /* of the topic; 0: it is not there */
    uint64_t newest;
    uint64_t published_ms;        /* of clock_ms(); 0: not known */
    const struct reason *reasons; /* the topic itself, then patterns in the order of their hashes */
    size_t reason_count;
    bool more_reasons; /* not all patterns that match are among them */
    bool by_pattern;   /* messages of the topic come by patterns, too */
    const struct facts *facts;
    uint64_t now_ms;  /* of clock_ms() */
    uint64_t wall_ms; /* the same moment, since 1970 */
};

struct verdict {
    enum verdict_kind kind;
    const struct reason *reason; /* by which it was or would have been given; NULL: none; without a
                                  name: a pattern that may have matched, nobody has it any more */
    const struct fact *begin;    /* of that subscription; NULL: not known, or none */
    const struct fact *fact;     /* what else it rests on; NULL: nothing */
    uint64_t remembered_ms;      /* how far back the facts go; 0: to the start */
};

struct verdict verdict_find(const struct verdict_case *c);

/* That the fact is of, or NULL. */
const struct reason *verdict_reason(const struct verdict_case *c, const struct fact *fact);

/* Appends the verdict as members of a JSON object: "verdict", "words", "facts"; and the first two
 * once more by their other names, "outcome" and "text". */
void verdict_write(struct buf *out, const struct verdict_case *c, const struct verdict *v);

#endif
