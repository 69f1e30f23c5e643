/* Who a session is and what it may do, by its token or its certificate.
 *
 * A session without one is nobody in particular: what the rules let everyone do, it may do. Whoever
 * has one may do that and what the rules let its kind do, but of either only what the token grants.
 * Order: made by a handshake or the command auth, replaced by a later auth, warned of its end and
 *   then closed. New keys do not touch it, but a deny list that names it closes its session.
 * Memory: 88 bytes, and the claims and grants.
 * Threads: the worker's. */
#ifndef HERMES_SESSION_BEARER_H
#define HERMES_SESSION_BEARER_H

#include "auth/claims.h"
#include "broker/grants.h"
#include "broker/rules.h"
#include "proto/http_head.h"
#include "session/session.h"

struct bearer {
    struct deadline deadline; /* in the worker's `bearers` */
    struct session *session;
    struct claims *claims;
    struct grants *grants; /* NULL: no limit in them */
    uint64_t warn_ms;      /* since 1970; UINT64_MAX: it has been, or never is */
    uint64_t end_ms;       /* the leeway is in it; UINT64_MAX: never */
};

/* What to answer to a handshake that is not to be let in; `text` is static. */
struct admission {
    int status;
    const char *text;
    unsigned retry_s; /* 503: when to come back; 0: as http_answer has it */
};

/* Its certificate names that user, who may do what any that is authenticated may. A token in its
 * request replaces that. False when there is no memory. */
bool session_certified(struct session *s, struct text user);

/* Looks for a token in a request and makes the session its bearer. True to let it in, without a
 * token too; false, and why not. */
bool session_admit(struct session *s, const struct http_head *head, struct admission *refusal);

/* The command auth. */
void session_authenticate(struct session *s, const struct command *c);

/* The session is nobody any more. */
void session_forget_bearer(struct session *s);

bool bearer_may(const struct bearer *b, enum grant which, enum access access, struct text topic);

/* Whether a session may publish or subscribe to a topic with that rule. */
static inline bool session_may(
    const struct session *s, enum grant which, const struct rule *rule, struct text topic)
{
    enum access access = which == GRANT_PUBLISH ? rule->publish : rule->subscribe;
    return (!s->bearer && access == ACCESS_EVERYONE) || bearer_may(s->bearer, which, access, topic);
}

/* Whether its token lets it subscribe by a pattern. What rules forbid does not come by one. */
static inline bool session_may_pattern(const struct session *s, struct text pattern)
{
    return !s->bearer || grants_allow_pattern(s->bearer->grants, GRANT_SUBSCRIBE, pattern);
}

/* Whether its token lets it know who else is there. */
static inline bool session_may_see(const struct session *s)
{
    return !s->bearer || grants_allow_presence(s->bearer->grants);
}

/* How many comparisons a topic may cost: for whoever has to account for them. */
static inline size_t session_patterns(const struct session *s)
{
    return s->bearer ? s->bearer->claims->subscribe.count : 0;
}

/* A deadline of the worker's `bearers`. */
void bearer_due(struct deadline *d, void *user);

/* Takes the keys that are in force, and closes those whom they deny. */
struct worker;
void worker_take_keys(struct worker *w);

#endif
