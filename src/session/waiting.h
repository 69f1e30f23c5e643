/* Questions of sessions that are answered later: by other workers, or by other brokers.
 *
 * Ownership: whoever asks embeds it in what is asked, and frees that when the answer has come,
 *   or the session has ended and none will.
 * Threads: the worker's. */
#ifndef HERMES_SESSION_WAITING_H
#define HERMES_SESSION_WAITING_H

#include <stdbool.h>

#include "session/session.h"

enum waiting_kind { WAITING_PRESENCE, WAITING_TOPICS };

struct waiting {
    struct list node;        /* in the worker's `waiting` */
    struct session *session; /* NULL: it has ended */
    enum waiting_kind kind;
    void (*forgotten)(struct waiting *w); /* the session has ended: it may free it. NULL: nothing */
};

/* Whether the session has not asked too much already. */
bool session_may_wait(const struct session *s);

void waiting_begin(struct waiting *w, struct session *s, enum waiting_kind kind);

/* The answer has come, or is not waited for any more. The session that it is for, or NULL. */
struct session *waiting_end(struct waiting *w);

/* The session's oldest of a kind, or NULL. */
struct waiting *waiting_first(const struct session *s, enum waiting_kind kind);

/* The session ends. */
void session_forget_waiting(struct session *s);

#endif
