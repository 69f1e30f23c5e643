/* Commands that wait: one that wants a far topic which is not live here, or of whose past not
 * enough is kept here, and all that the session sends behind it. They are done in order, as if they
 * had just come, when what the first one waits for is back.
 *
 * What the others will want is asked for meanwhile, so that many subscribes in a row take a few
 * round trips and not each its own.
 * Memory: the commands as text. Past PARKED_MOST bytes of one session (or a share of the worker's
 *   budget, of all) it is not read from.
 * Threads: the worker's. */
#ifndef HERMES_SESSION_PARKED_H
#define HERMES_SESSION_PARKED_H

#include "broker/backplane.h"
#include "session/session.h"

enum { PARKED_MOST = 64 * 1024 };

/* An errand of a command that waits, or did. */
struct far_wait {
    struct errand errand;  /* its node: in the command's row of them, in the order of names */
    struct parked *parked; /* NULL: nobody waits for it */
    uint32_t index;        /* of the name that it is for, among the command's */
    bool back;
    bool joins;
    char name[];
};

/* Keeps what an open session sends while others of its commands wait. The text is wiped: there may
 * be a token in it. */
void session_park(struct session *s, char *text, size_t len);

/* A command that is no publish has come while publishes of the session are on their way to the
 * cluster: it is done before all others that wait, when they are back. */
void session_park_behind_publishes(struct session *s, struct text text, bool again);

/* The last publish that was on its way is back. */
void session_published_far(struct session *s);

/* A subscribe (to `names`, or c->pattern) or a history command cannot be done yet; what it waits
 * for first is an errand of that kind for its first name. In the midst of a command that waited it
 * takes that one's place. */
void session_wait(struct session *s, const struct command *c, const struct text *names,
    size_t count, enum errand_kind kind);

/* What the command that is being done has waited for, for that name; NULL: it has not. To be asked
 * for in order of `index`; valid until the next call. */
struct far_wait *session_waited(struct session *s, uint32_t index);

/* Whether it has waited so often that it should not again. */
bool session_waited_enough(const struct session *s);

/* Keeps an answer (whole frames) where it may not be sent yet: behind what the session has
 * published, and behind the commands that wait, if it is not the answer to the one being done. */
bool session_answers_later(struct session *s);
void session_park_answer(struct session *s, struct text frames);

/* So many bytes more, or less, are kept for what it has sent and was not answered yet; they count
 * like those of commands that wait. */
void session_keep(struct session *s, size_t bytes);
void session_keep_less(struct session *s, size_t bytes);

/* The session ends in the midst of it: what it has published is still published, by the rights that
 * it has now, and nothing else is done. (A peer that closes in order is waited for, see
 * session_part.) */
void session_forget_parked(struct session *s);

/* Does commands that have what they waited for. True when there is more to do at once. */
bool worker_resume_parked(struct worker *w);

/* --- in other files --------------------------------------------------------------------------- */

/* dispatch.c: does a command. `again`: it has been paid for. */
void session_obey(struct session *s, char *text, size_t len, bool again);

/* far_command.c: writes a subscribe or history command as text. */
void far_command_write(struct buf *out, const struct session *s, const struct command *c,
    const struct text *names, size_t count);

/* subscribe.c: what a subscribe asks for of the past. */
struct route_past session_past(const struct command *c);

/* far_past.c: what has to come first, so that a far topic can be joined or looked at: true, and by
 * which kind of errand. */
bool far_lacks(struct session *s, const struct command *c, struct text topic, uint64_t hash,
    struct route_rule rule, enum errand_kind *kind);

/* far_past.c: the same of its past alone, of a live topic: whether that has to be fetched. */
bool far_lacks_past(struct session *s, const struct command *c, struct text topic, uint64_t hash,
    struct route_rule rule);

/* far_past.c: whether what was fetched is all behind an offset of that epoch. */
bool far_recovered(const struct errand *e, uint64_t epoch, uint64_t offset);

/* far_past.c: what to fetch of a topic for a command. */
void far_fetch(
    struct errand *e, struct session *s, const struct command *c, struct route_rule rule);

#endif
