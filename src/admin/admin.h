/* The admin listener: a thread and loop of its own that serves pages, figures and the API over
 * plain HTTP/1.1.
 *
 * Order: admin_open binds (so that a busy port is known before anything runs), admin_start,
 *   admin_stop when the workers have ended, admin_join, admin_fini. Until admin_stop it answers,
 *   also while the broker drains; then requests under way are answered and no more are read.
 * Threads: admin_stop and admin_set_token from any; everything else, and the handlers, from the
 * listener's own. It touches nothing of a worker's: it asks by mail (session/inquiry.h). */
#ifndef HERMES_ADMIN_ADMIN_H
#define HERMES_ADMIN_ADMIN_H

#include <stdbool.h>
#include <uv.h>

#include "auth/secret.h"
#include "base/list.h"
#include "base/logger.h"
#include "base/metrics.h"
#include "loop/mailbox.h"
#include "loop/wheel.h"
#include "net/listen.h"
#include "session/worker.h"

enum { ADMIN_LISTENERS_MAX = 16, ADMIN_CONNECTIONS_MAX = 64, ADMIN_READ = 64 * 1024 };

struct api;
struct errand;
struct inquiry;
struct load;

/* What the listener knows of the broker, and asks of it. */
struct admin_settings {
    const char *host;                 /* empty: all addresses */
    int port;                         /* 0: any free one */
    const struct listen_given *given; /* sockets in its place, as in net/listen.h; NULL */
    struct text token;                /* copied; empty: everyone may who can connect, from here */
    size_t body_max;                  /* bytes of one request */
    struct workshop *shop;            /* the workers: route, rules, limits, logger */
    const struct metrics *outside;    /* of what the program around the broker publishes */
    const struct metrics *acceptor;
    const struct metrics *cluster; /* NULL: there is none */
    int public_port;
    bool public_tls;           /* that one speaks TLS */
    int tls_port;              /* the other one that does; 0: none */
    void (*drain)(void *user); /* as SIGTERM does */
    void (*ended)(void *user); /* the last thing on the thread */
    void *user;
};

struct admin_listener {
    uv_poll_t poll;
    int fd;
};

struct admin {
    struct admin_settings settings;
    uv_thread_t thread;
    uv_loop_t loop;
    struct mailbox box; /* answers to inquiries, and the end */
    struct tray tray;
    uv_timer_t retry;   /* accepting again after descriptors ran out */
    struct wheel wheel; /* deadlines of the connections */
    struct admin_listener listeners[ADMIN_LISTENERS_MAX];
    size_t listener_count;
    int port;
    struct secret *token;    /* NULL: none */
    struct list connections; /* struct http_conn; the idle ones as they became so */
    unsigned connection_count;
    size_t held_bytes;   /* of requests, in all connections */
    unsigned asking;     /* inquiries and errands that are not back yet */
    uint64_t started_ms; /* clock_ms() */
    bool stopping;
    bool ending; /* nothing is left: the handles are being closed */
    struct api *api;
    struct load *loads;     /* one a worker */
    struct metrics metrics; /* its own: requests, and what is published through it */
    char buffer[ADMIN_READ];
};

enum admin_fault {
    ADMIN_OPENED,
    ADMIN_UNBOUND, /* the address cannot be listened on: another program does, say */
    ADMIN_EXPOSED, /* others than this machine could connect, and there is no token */
    ADMIN_NO_LOOP,
};

/* Binds. On a fault there is one sentence for a person in `error`, and nothing is left. */
enum admin_fault admin_open(
    struct admin *a, const struct admin_settings *settings, char *error, size_t error_size);

/* Starts the thread; a libuv error code or 0. */
int admin_start(struct admin *a);
void admin_stop(struct admin *a);

/* Another token from now on, copied; not to be empty. From any thread. False: there is no memory,
 * or it has ended. */
bool admin_set_token(struct admin *a, struct text token);
void admin_join(struct admin *a);

/* Frees one whose thread has ended or was never started. */
void admin_fini(struct admin *a);

/* --- on its thread ---------------------------------------------------------------------------- */

/* inquiry_ask, remembered, so that the listener does not end before the answer is there: for all
 * that it asks. */
void admin_ask(struct admin *a, struct inquiry *q, const uint64_t *workers);

/* The same with backplane_send: what is set for that, but `home` and `lost`, is the caller's. */
void admin_send(struct admin *a, struct errand *e);

static inline struct text admin_token(const struct admin *a)
{
    return a->token ? (struct text){(const char *)a->token->at, a->token->len} : TEXT("");
}

/* Whether that was the last thing it waited for. */
void admin_maybe_end(struct admin *a);

#endif
