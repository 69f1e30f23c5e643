/* One connection to a Redis server, which is kept up: it connects, says who it is, and after it
 * broke connects again, with full jitter between 50 ms and 2 s.
 *
 * Up means: connected, TLS shaken, AUTH and SELECT answered, the scripts loaded, and the server is
 * one that can be written to (PING does not say LOADING or MASTERDOWN, the role is master). A
 * server that says -READONLY, -LOADING or -MASTERDOWN to a command later is left, as one that
 * broke.
 *
 * Order: commands are written in the order in which they were given, many in one write; answers
 *   come in the same order. Each gets exactly one answer or `NULL` when the link broke before it
 *   came. What a subscribing connection receives comes by `message` and `subscribed`, in the order
 *   of the server.
 *   No event and no answer is called from within a function of the link's, but answers (as NULL)
 *   from redis_link_close: what breaks it there is told in the loop's next turn.
 *   Where only answers are on their way that nobody waits for (redis_send_unhurried), they are read
 *   when the loop is awake for something else anyway (redis_link_look), or some 2 ms later.
 * Memory: at most `most_unsent` bytes wait to be written, and `most_waiting` answers are waited
 *   for; redis_link_full says when it is half of that; whoever writes past that breaks the link.
 * Time: a link on which nothing has come for `silence_ms`, though answers (or the PONG of a ping
 *   of its own, sent when it was idle) are waited for, is broken.
 * Threads: the loop's. */
#ifndef HERMES_CLUSTER_REDIS_LINK_H
#define HERMES_CLUSTER_REDIS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/logger.h"
#include "base/text.h"
#include "cluster/redis_url.h"
#include "cluster/resp_in.h"

struct tls_trust;
struct redis_link;

struct redis_link_events {
    /* It can be used. Nothing that was given before a break is left in it. */
    void (*up)(struct redis_link *l, void *user);
    /* It broke; every answer that was waited for has been given as NULL before. `reason`: one line
     * for people. Not called when a connect fails again, which is logged at a slow pace. */
    void (*down)(struct redis_link *l, const char *reason, void *user);
    /* A message of a channel: topic of the subscription and payload. */
    void (*message)(struct redis_link *l, struct text channel, struct text payload, void *user);
    /* The server confirms a SUBSCRIBE (or an UNSUBSCRIBE) of a channel. */
    void (*subscribed)(struct redis_link *l, struct text channel, bool yes, void *user);
    /* All that one read brought has been handed out: the moment to act on it at once. NULL: none.
     */
    void (*settled)(struct redis_link *l, void *user);
};

struct redis_link_settings {
    const struct redis_url *url; /* stays while the link does */
    struct tls_trust *trust;     /* where the url says TLS; stays until redis_link_close */
    bool subscribes;             /* for SUBSCRIBE and what comes of it, and nothing else */
    uint64_t silence_ms;
    size_t most_unsent;
    size_t most_waiting;
    const char *const *scripts; /* Lua texts, SCRIPT LOADed at each connect; NULL at the end */
    const struct redis_link_events *events;
    struct logger *logger;
    void *user;
};

/* Begins to connect. NULL when there is no memory. */
struct redis_link *redis_link_new(uv_loop_t *loop, const struct redis_link_settings *settings);

/* Breaks it for good without calling anything but the answers that are waited for; frees it when
 * the loop has closed its handles. */
void redis_link_close(struct redis_link *l);

bool redis_link_is_up(const struct redis_link *l);

/* Whether so much is unsent or unanswered that whoever can wait should. */
bool redis_link_full(const struct redis_link *l);

/* Whether what comes is read. While it is not, the server is not taken for silent. */
void redis_link_pause(struct redis_link *l, bool yes);

/* Breaks it, as the peer could; it connects again. */
void redis_link_break(struct redis_link *l, const char *reason);

/* `answer` of NULL: the link broke first, or was not up. Called once for each command. */
typedef void (*redis_answer)(const struct resp *answer, void *user);

/* A command in pieces: redis_begin says of how many arguments (the command's name is one) it will
 * be, redis_arg gives each of them, redis_send ends it. For a subscribing link `answered` is NULL.
 * Nothing is written before the loop's next turn, or redis_link_flush. False from redis_send: the
 * link is not up or has no memory; `answered` is then not called. A subscribing link that has no
 * memory breaks. */
void redis_begin(struct redis_link *l, unsigned arguments);
void redis_arg(struct redis_link *l, struct text argument);
void redis_arg_number(struct redis_link *l, uint64_t number);
/* One argument in two or more pieces: its whole length first, then the pieces. */
void redis_arg_begin(struct redis_link *l, size_t len);
void redis_arg_piece(struct redis_link *l, struct text piece);
bool redis_send(struct redis_link *l, redis_answer answered, void *user);
/* The same, but the loop need not be woken for the answer at once. */
bool redis_send_unhurried(struct redis_link *l, redis_answer answered, void *user);

/* The SHA1 of script `index`, as EVALSHA wants it: 40 characters. */
struct text redis_script(const struct redis_link *l, unsigned index);

/* The start of the server's run_id, another one after each restart and of each server; as long as
 * it is up. Empty where it does not tell. */
enum { RUN_DIGITS = 16 };
struct text redis_link_run(const struct redis_link *l);

/* Writes what there is now. */
void redis_link_flush(struct redis_link *l);

/* Reads what has come by now where the loop does not watch for it. Calls, as the loop would. */
void redis_link_look(struct redis_link *l);

#endif
