/* One client, from the accepted socket to the last byte.
 *
 * Order: HEAD (the PROXY header where there has to be one, TLS, then the request), OPEN, CLOSING
 *   (the last frame is queued; input is thrown away), ENDED (until the worker's turn is over).
 *   Nothing frees a session but that last step, so a session stays valid for as long as the
 *   callback runs that ended it.
 * Ownership: the worker's slab.
 * Threads: the worker's. */
#ifndef HERMES_SESSION_SESSION_H
#define HERMES_SESSION_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "broker/local.h"
#include "broker/route.h"
#include "loop/wheel.h"
#include "net/addresses.h"
#include "net/conn.h"
#include "net/connection.h"
#include "net/outbox.h"
#include "proto/ws_in.h"

struct aside;
struct bearer;
struct caller;
struct command;
struct errand;
struct http_head;
struct worker;

enum session_state { SESSION_HEAD, SESSION_OPEN, SESSION_CLOSING, SESSION_ENDED };

enum close_reason {
#define CLOSE_REASON(name, code, metric, text) CLOSE_##name,
#include "session/close_reasons.def"
#undef CLOSE_REASON
};

struct session {
    /* What a delivery touches, in one cache line. */
    _Alignas(64) struct outbox out;
    struct worker *worker;
    uint32_t queued; /* place in the flush queue + 1; 0: not in it */
    uint8_t state;
    bool blocked;         /* waits for the socket to take more */
    bool unremembered;    /* there was no memory to remember a span: to be cut off */
    bool finished : 1;    /* the end of the stream has been sent */
    bool peer_closed : 1; /* its close frame came: end when all is sent */
    bool paused : 1;      /* not read from: a mailbox is crowded */
    bool full : 1;        /* not read from: too much unsent */
    bool pinged : 1;      /* a ping is out */
    bool deaf : 1;        /* its input is thrown away: closing, and it cannot be understood any
                           * more, or gets events */
    bool patient : 1;     /* closing, but for as long as it takes what is queued */
    bool enveloped : 1;   /* speaks level 2 */
    uint8_t refusal : 3;  /* enum connection_refusal, until the head is answered */
    bool fetching : 1;    /* a piece of the past for a catch_up: one at a time */
    bool leaving : 1;     /* not read from: it ends when what it has sent is done and answered */
    bool heralded : 1;    /* a PROXY header has to come first */
    bool told : 1;        /* it is remembered who the client is */
    bool latest : 1;      /* some of `lenient` may be by POLICY_LATEST */
    bool unsecured : 1;   /* HEAD: TLS comes first, see session/secure.h */
    uint8_t asking : 5;   /* questions that are answered later, see session/waiting.h */
    bool parked : 1;      /* commands of it wait, see session/parked.h, */
    bool held : 1;        /* so many that it is not read from */
    uint16_t catching;    /* topics it catches up with, see session/catch_up.h */
    uint32_t reached;     /* the worker's `choosing` when a delivery last got here */

    struct subscriber subscriber;
    uint32_t ahead;           /* of our ping, in the kernel, when that was last looked at */
    uint32_t sent;            /* bytes, since our ping or longer */
    uint32_t published;       /* the worker's `deliveries` at its last publish, plus 1 */
    uint32_t lenient;         /* subscriptions whose policy is not to disconnect */
    int32_t allowance;        /* messages it may still send; see WS_MAX_MESSAGES_PER_SECOND */
    uint32_t allowance_ms;    /* when that was last raised */
    struct deadline deadline; /* handshake, ping, pong or close, by the state; its `since` is the
                               * last sign of life */
    union {
        struct buf *head;             /* HEAD: the part of header or request that has come */
        struct ws_reader *reader;     /* OPEN, CLOSING: a frame or message that is half there */
        struct session *ended_before; /* ENDED */
    };
    struct aside *aside; /* what few need, see session/aside.h; NULL: nothing */
    union {
        struct {
            struct catch_up *catch_ups; /* those of it, see session/catch_up.h */
            struct arrears *arrears;    /* gaps to tell it of, see session/slow.h; NULL: none */
        };
        struct list securing; /* unsecured: in a queue of the worker's */
    };
    uint64_t client; /* its id for others */
    union {
        struct address *address; /* what it is counted by; NULL: not counted */
        struct caller *caller;   /* told: that, and who it is */
    };
    struct bearer *bearer; /* whoever its token says; NULL: nobody in particular */
    struct conn conn;
};
_Static_assert(sizeof(struct session) == 192, "three cache lines: there are many of them");

/* A new session on an accepted socket, which it takes over (closing it when there is no memory). */
void session_open(struct worker *w, const struct connection *connection);

/* Its socket can be read from or written to. */
void session_ready(struct conn *conn, int events);

/* Ends it in order: leaves all topics and queues a close frame behind what is queued already; a
 * blocked session loses what is queued but for the frame that is partly sent (not on SHUTDOWN). */
void session_close(struct session *s, enum close_reason reason);

/* The same with another code and text, of at most 123 bytes of UTF-8. */
void session_dismiss(struct session *s, int code, const char *text);

/* Answers the peer's close frame with one of the same code; the session ends when that is sent. */
void session_answer_close(struct session *s, int code);

/* The peer has said farewell (see session/aside.h), and nothing of what it sent before waits. */
void session_part(struct session *s, int farewell);

/* Ends it now. `reset`: what the kernel has not sent yet is thrown away. */
void session_end(struct session *s, enum close_reason reason, bool reset);

/* Sends what it can, and goes on with what waited for that. */
void session_flush(struct session *s);

/* The same, when the worker's ring has made the first write of it. */
void session_flush_after(struct session *s, struct iovec piece, ssize_t wrote);

/* Queues whole frames; to one that gets server-sent events, what these are there. */
void session_send(struct session *s, struct text frames);

/* The same for kept messages of a topic with that epoch. */
void session_send_past(struct session *s, struct text frames, uint64_t epoch);

/* Queues bytes as they are: whole frames, or whole events. */
void session_send_bytes(struct session *s, struct text bytes);

/* Chooses what its socket is watched for, after a flag changed. */
void session_watch(struct session *s);

/* The deadline was met. */
void session_deadline(struct session *s);

static inline struct session *session_of(struct subscriber *s)
{
    return LIST_ITEM(s, struct session, subscriber);
}

/* Counts a subscription by that policy; `by` is 1, or -1 when it is one no longer. */
static inline void session_count_policy(struct session *s, enum policy policy, int by)
{
    if (policy != POLICY_DISCONNECT)
        s->lenient += (uint32_t)by;
    s->latest = s->lenient > 0 && (s->latest || policy == POLICY_LATEST);
}

/* --- in files of their own -------------------------------------------------------------------- */

/* greet.c: bytes of the request; answers it when it is whole. */
void session_greet(struct session *s, char *bytes, size_t len);

/* greet.c: keeps what has come so far in `head`; false when there is no memory. */
bool session_keep_head(struct session *s, const char *bytes, size_t len);

/* caller.c: who is at the other end, whom a proxy told of or else the socket's peer: until
 * session_end. */
struct endpoint session_caller(const struct session *s);
const char *session_caller_text(const struct session *s, char out[ENDPOINT_TEXT_MAX]);

/* caller.c: remembers the peer, whom a socket forgets that is reset. */
void session_keep_caller(struct session *s);

/* caller.c: reads what there is of a heralded session's PROXY header, and not a byte more, for
 * what follows may be of any protocol. True: it is whole, and more may be read. */
bool session_read_proxy_head(struct session *s);

/* caller.c: hears from the request on whose behalf trusted proxies sent it, and counts it for that
 * address if it is not counted yet (`refusal` is decided then). False: there is no memory. */
bool session_hear_proxies(struct session *s, const struct http_head *head);

/* caller.c: it is no longer counted. */
void session_forget_caller(struct session *s);

/* dispatch.c: bytes behind the handshake. */
void session_receive(struct session *s, char *bytes, size_t len);

/* publish.c: publishes one value. It may wait for others behind it, see worker_post_gathered. */
void session_publish(struct session *s, const struct command *c);

/* publish.c: the session is not to be answered any more. */
void session_forget_acks(struct session *s);

/* subscribe.c */
void session_subscribe(struct session *s, struct command *c);
void session_unsubscribe(struct session *s, struct command *c);

/* look.c */
void session_list_topics(struct session *s, const struct command *c);
void session_tell_history(struct session *s, const struct command *c);

/* look.c: appends as many of a view as one answer should hold, the newest or the first ones. Any
 * thread. */
void session_history_rows(struct buf *rows, struct history_view *view, bool newest);

/* look.c: the same of what an errand has fetched. Any thread. */
void session_history_found(struct buf *rows, const struct errand *e);

/* presence.c: asks all workers who subscribes to a topic; the answer comes later. */
void session_ask_presence(struct session *s, const struct command *c);

/* presence.c: tells those who watch that the session joined a topic or leaves it. */
void session_tell_presence(struct session *s, struct registry_topic *topic, bool joined);

/* topics.c: subscribing and leaving, exact against the deliveries. */
enum join_result {
    JOIN_OK,
    JOIN_LATER, /* the past is a lot: it is given in pieces, and the session joins behind them */
    JOIN_ALREADY,
    JOIN_UNDER_WAY, /* that has been asked for before */
    JOIN_TOO_MANY,
    JOIN_NO_MEMORY,
    JOIN_ABSENT, /* the topic is far, and not live here */
    JOIN_ENDED
};
struct wish {
    struct text name;
    bool is_pattern;
    bool watches;
    enum policy policy;
    struct route_rule rule;
    const struct route_past *past; /* NULL: nothing of it */
    struct errand *fetched;        /* of a far topic's past, for which `past` is then; or NULL */
};

/* Fills `*joined` when a topic is joined, now or later: its view is the caller's then. */
enum join_result session_join(
    struct session *s, const struct wish *wish, struct route_joined *joined);
enum leave_result { LEAVE_OK, LEAVE_NOT_SUBSCRIBED, LEAVE_ENDED };
enum leave_result session_leave(struct session *s, struct text name, bool is_pattern);
void session_leave_all(struct session *s);

/* topics.c: whether it may have `more` subscriptions and one; or that one. */
bool session_has_room(const struct session *s, size_t more);
bool session_is_full_for(struct session *s, struct text name, bool is_pattern);

/* topics.c: the subscription by that name, or NULL. */
struct subscription *session_subscription(struct session *s, struct text name, bool is_pattern);

/* topics.c: changes one that is there. */
void session_change(
    struct session *s, struct subscription *subscription, enum policy policy, bool watches);

#endif
