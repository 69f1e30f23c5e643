/* The inside of a link, for the files it is made of: redis_link.c has its life and its time,
 * redis_talk.c what is said on it, redis_greet.c what has to be said before it is up.
 *
 * Order: RESTING → DIALLING → GREETING → UP, and from any of the last three by way of BREAKING,
 *   which lasts until the user's callbacks are left, back to RESTING. */
#ifndef HERMES_CLUSTER_REDIS_LINK_STATE_H
#define HERMES_CLUSTER_REDIS_LINK_STATE_H

#include "cluster/redis_link.h"
#include "cluster/redis_waiting.h"
#include "cluster/redis_wire.h"
#include "cluster/resp_in.h"
#include "cluster/resp_out.h"

enum { SCRIPT_SHA = 40, REASON_MOST = 256 };

/* The timer ticks so often within silence_ms. Ticks are counted, and not time, so that a process
 * that was stopped itself does not take the server for silent. */
enum { SILENCE_TICKS = 4, PING_TICKS = 2 };

struct redis_link {
    uv_loop_t *loop;
    struct redis_link_settings set;
    enum { LINK_RESTING, LINK_DIALLING, LINK_GREETING, LINK_UP, LINK_BREAKING, LINK_CLOSED } state;
    struct redis_wire *wire;
    uv_timer_t timer; /* until the next dial, or ticks */
    uv_idle_t turn;   /* runs while there is something to write, or a break to be made */
    uv_timer_t late;  /* while answers are left in the socket */
    unsigned handles; /* not closed yet */
    unsigned ticks;   /* since something came, or began to be waited for */

    struct resp_out out;
    struct resp_in *in;
    struct redis_waiting waiting;
    size_t unconfirmed; /* channels, for a link that subscribes */
    unsigned arguments; /* of the command that is being written */
    bool pinged;        /* on a link that subscribes */
    bool paused;        /* nothing is read */
    bool leaves;        /* answers are in the socket until somebody looks, or `late` */

    char (*shas)[SCRIPT_SHA];
    char run[RUN_DIGITS]; /* of the server */
    size_t run_len;
    unsigned scripts;
    unsigned loaded;  /* at this connect */
    unsigned loading; /* again, because the server has lost them */

    /* Commands are counted from the connect on. */
    uint64_t given;
    uint64_t answered;
    uint64_t hurried;  /* the newest one whose answer somebody waits for */
    uint64_t wrote_at; /* ms of the loop */

    bool was_up; /* before it began to break */
    char reason[REASON_MOST];
    unsigned attempt;
    uint64_t up_at;
    char told[REASON_MOST];
    uint64_t told_at; /* of connects that fail; 0: not yet */
    uint64_t failed;  /* connects, since it was up */
};

static inline bool redis_link_awaits(const struct redis_link *l)
{
    return l->waiting.count > 0 || l->unconfirmed > 0 || l->pinged;
}

/* Its end begins; `detail` may be from the server, and is cleaned. Calls nothing. */
void redis_link_fail(struct redis_link *l, const char *reason, struct text detail);

/* The greeting is over. */
void redis_link_up(struct redis_link *l);

/* Ends a command begun in l->out; for those of the link itself too. */
bool redis_talk_send(struct redis_link *l, redis_answer answered, void *user);
/* The loop watches for answers again. */
void redis_talk_watch(struct redis_link *l);
void redis_talk_ping(struct redis_link *l);
void redis_talk_heard(struct redis_link *l, const char *bytes, size_t len);

void redis_greet(struct redis_link *l);

/* Has the scripts loaded again, unless that is on its way. */
void redis_greet_again(struct redis_link *l);

#endif
