/* What the files of catch_up.h share. */
#ifndef HERMES_SESSION_CATCH_UP_STATE_H
#define HERMES_SESSION_CATCH_UP_STATE_H

#include "base/buf.h"
#include "broker/backplane.h"
#include "session/catch_up.h"

enum { CATCH_UP_PIECE = 256 * 1024 };

struct far_piece;

struct catch_up {
    struct list node; /* in the worker's */
    struct catch_up *next_of_session;
    struct session *session;
    struct registry_topic *topic;
    uint64_t hash;
    uint64_t epoch; /* of the topic, when that was last looked at */
    uint64_t next;  /* offset of the message to come */
    /* Of a far topic, of which not all is kept here: */
    struct far_piece *fetching; /* the errand that is under way */
    struct buf found;           /* frames that have been fetched and are to be given, */
    uint64_t found_first;       /* and their offsets */
    uint32_t found_count;
    uint64_t gone;     /* what is older is kept nowhere */
    uint64_t again_ms; /* it could not be fetched: when to ask again; 0: it need not wait */
    unsigned failures; /* so many times now */
    bool wants;        /* to fetch, when the session's other fetch is back */
    enum policy policy;
    bool watches;
    size_t name_len;
    char name[];
};

/* What a message takes in the log besides its data. */
static inline size_t catch_up_around(size_t topic_len)
{
    return topic_len + 64;
}

void catch_up_free(struct catch_up *c);

/* catch_far.c: takes what an errand has found, to be given next. */
void catch_up_take(struct catch_up *c, struct errand *e);

/* catch_far.c: what was found is not kept: it has been given, or is fetched anew. */
void catch_up_drop_found(struct catch_up *c);

/* catch_far.c: nothing of what was or is being fetched is wanted any more. */
void catch_up_forget_fetched(struct catch_up *c);

/* catch_far.c: whether messages from c->next on, which are not kept here, may be kept elsewhere; if
 * so they are being fetched. `first`: the first one that is here. */
bool catch_up_fetch(struct catch_up *c, uint64_t first);

#endif
