/* Large replays, a piece at a time, as the client takes them.
 *
 * Who wants more of the past than one should put into the log at once is not joined to the local
 * topic yet: it is given pieces of the history, each when it has taken the one before, until what
 * is left is small; the rest and the joining are one step then, as with any other subscribe
 * (guarantee 5). Whatever the history has forgotten meanwhile is told by a gap frame.
 * Order: while it lasts, other topics' messages may come before older ones of this topic.
 * Memory: no part of the history is held between two pieces.
 * Threads: the worker's. */
#ifndef HERMES_SESSION_CATCH_UP_H
#define HERMES_SESSION_CATCH_UP_H

#include "session/session.h"

/* Whether what the view holds should not be put into the log at once. */
bool catch_up_is_due(const struct worker *w, struct text topic, const struct history_view *past);

/* Begins with the first message of joined->past, which it does not take over. The worker's interest
 * in the topic has been raised and is this one's from now on. False when there is no memory. */
bool catch_up_begin(struct session *s, const struct wish *wish, const struct route_joined *joined);

/* Whether the session is catching up with that topic. */
bool catch_up_is_under_way(struct session *s, struct text topic);

/* What a second subscribe asks for; `policy`: it names one. */
void catch_up_change(struct session *s, const struct wish *wish, bool policy);

/* All of a session's, from s->catch_ups on. */
struct catch_up *catch_up_next(const struct catch_up *c);
struct text catch_up_name(const struct catch_up *c);

/* Where it is: the next offset that is to be given. */
struct catch_up_place {
    const struct registry_topic *topic;
    uint64_t next;
};
struct catch_up_place catch_up_place(const struct catch_up *c);

/* The session's one with that topic, or NULL. */
struct catch_up *catch_up_find(struct session *s, const void *topic);

/* How many sessions here catch up with the topic. */
uint32_t catch_up_count(const struct worker *w, const void *topic);

/* It is told of no joins and leaves. */
void catch_up_unwatch(struct catch_up *c);

/* Ends it, and gives up the interest; false when there is none. */
bool catch_up_cancel(struct session *s, struct text topic);
void catch_up_cancel_all(struct session *s);

/* Whether the session is catching up with that topic: its messages come to it that way alone. */
bool catch_up_covers(const struct session *s, const void *topic);

/* Appends the ids (uint64_t) of those who are catching up with the topic, and marks them as
 * reached.
 */
void catch_up_list(struct worker *w, struct text topic, struct buf *clients);

/* Whether a session here catches up with the topic, and so needs the worker's interest in it. */
bool catch_up_needs(const struct worker *w, const void *topic);

/* Gives pieces to those who have taken theirs. True when there is more to do at once. */
bool worker_catch_up(struct worker *w);

#endif
