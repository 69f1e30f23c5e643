/* The thread that accepts connections and hands them out, round-robin.
 *
 * It counts each for the address that it comes from. Whose one is that came through a proxy only
 * its worker will learn, which counts it then (REFUSAL_UNDECIDED). Nothing that workers do holds it
 * up: however many of their clients leave or come at once, it accepts, and what it accepted waits
 * in their mail.
 *
 * Order: acceptor_open binds (so that a busy port is known before anything runs), acceptor_start,
 *   acceptor_drain, acceptor_join, acceptor_fini.
 * Threads: acceptor_drain from any; everything else from the owner's. */
#ifndef HERMES_NET_ACCEPTOR_H
#define HERMES_NET_ACCEPTOR_H

#include <stdatomic.h>
#include <uv.h>

#include "base/logger.h"
#include "base/metrics.h"
#include "loop/mailbox.h"
#include "net/addresses.h"
#include "net/cidr.h"
#include "net/gate.h"
#include "net/listen.h"

enum { LISTENERS_MAX = 16, ACCEPTS_A_WAKE = 64 };

struct acceptor_settings {
    const char *host;                     /* empty: all addresses, IPv4 and IPv6 */
    int port;                             /* 0: any free one */
    bool tls;                             /* that port is for TLS */
    int tls_port;                         /* another, for TLS; -1: none */
    const struct listen_given *given;     /* sockets in place of the port's, */
    const struct listen_given *tls_given; /* and of the other's */
    int backlog;
    uint64_t drain_delay_ms;     /* between acceptor_drain and the end of accepting */
    int64_t max_connections;     /* more are answered 503; a few more than that are just closed */
    int64_t refusals;            /* how many past the maximum are still answered */
    uint64_t accepts_per_second; /* more are just closed; 0: no limit */
    struct mailbox **boxes;      /* of the workers */
    unsigned workers;
    struct addresses *addresses;
    const struct cidr_list *trusted; /* proxies, whose requests tell on whose behalf they come */
    bool proxy_head;                 /* all come from proxies, which tell that first of all */
    _Atomic int64_t *connections;
    struct logger *logger;
    void (*tick)(void *user);  /* each second, on the thread; NULL */
    void (*ended)(void *user); /* the last thing on the thread */
    void *user;
};

struct listener {
    uv_poll_t poll;
    int fd;
    bool tls;
};

struct acceptor {
    struct acceptor_settings settings;
    uv_thread_t thread;
    uv_loop_t loop;
    struct mailbox box;
    struct tray tray;
    uv_timer_t retry; /* accepting again after descriptors ran out */
    uv_timer_t delay;
    uv_timer_t tick;
    struct listener listeners[LISTENERS_MAX];
    size_t listener_count;
    int port;
    int tls_port;
    unsigned next;  /* worker */
    uint64_t woken; /* when it last had something to accept, ns */
    struct gate gate;
    bool draining;
    struct metrics metrics;
};

/* Binds. 0, or -1 with one sentence for a person in `error`. */
int acceptor_open(
    struct acceptor *a, const struct acceptor_settings *settings, char *error, size_t error_size);

/* Starts the thread; a libuv error code or 0. */
int acceptor_start(struct acceptor *a);

/* Stops accepting after the delay, and tells the workers to drain. */
void acceptor_drain(struct acceptor *a);
void acceptor_join(struct acceptor *a);

/* Frees one whose thread has ended or was never started. */
void acceptor_fini(struct acceptor *a);

#endif
