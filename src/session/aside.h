/* What few sessions need, and not for long: beside struct session, which there are many of.
 *
 * Ownership: the session's, from the first need until it ends.
 * Threads: the worker's. */
#ifndef HERMES_SESSION_ASIDE_H
#define HERMES_SESSION_ASIDE_H

#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

/* FAREWELL_END: its input has ended; others are codes of its close frame. */
enum { PONG_MOST = 125, NO_PONG = 255, FAREWELL_END = -1 };

struct session;

struct parked;

struct aside {
    struct session *session;
    struct list publishes;  /* struct far_publish: not numbered yet */
    struct list commands;   /* struct parked: that wait, see session/parked.h */
    struct list resumable;  /* in the worker's, when the first of them can go on */
    struct parked *current; /* the one that is being done */
    size_t parked_bytes;
    int farewell;         /* how the peer has ended, which is seen to behind the commands; or 0 */
    uint32_t under_way;   /* errands for them */
    uint32_t joining;     /* names that they want to subscribe, and have asked for */
    uint8_t pong_len;     /* of the newest ping that came while the session was blocked: only */
    char pong[PONG_MOST]; /* that is answered; or NO_PONG */
};

/* Makes it where there is none; NULL when there is no memory. */
struct aside *session_aside(struct session *s);
void session_forget_aside(struct session *s);

/* It may not be needed any more. */
void session_tidy_aside(struct session *s);

#endif
