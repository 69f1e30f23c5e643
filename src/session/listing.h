/* The command `topics`: what is here, and where there are other brokers, what is there, joined.
 *
 * Order: those of one session are answered in the order in which they were asked; while others are
 *   asked, other answers may come before.
 * Threads: the worker's. */
#ifndef HERMES_SESSION_LISTING_H
#define HERMES_SESSION_LISTING_H

#include "broker/topic_list.h"
#include "proto/command.h"
#include "session/session.h"

/* listing.c: asks the others and answers; takes the list. */
void session_list_everywhere(struct session *s, const struct command *c, struct topic_list *list);

/* look.c: whether there may be topics that the session is not to know of, and whether it may know
 * of that one. */
bool session_is_kept_from(const struct session *s);
bool session_is_shown(const struct session *s, struct text name);

/* look.c: writes the answer into `out`; `next` of NULL: that was all. */
void session_write_topics(const struct session *s, struct buf *out, struct text id,
    const struct topic_row *rows, size_t count, const struct text *next);

#endif
