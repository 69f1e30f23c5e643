/* What a broker consists of. See include/hermes/hermes.h for what may be done with it when.
 *
 * Threads: as there; what threads of the broker's own touch says so itself. */
#ifndef HERMES_SERVER_SERVER_H
#define HERMES_SERVER_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "admin/admin.h"
#include "auth/keys.h"
#include "base/buf.h"
#include "cluster/cluster.h"
#include "hermes/hermes.h"
#include "net/acceptor.h"
#include "server/settings.h"
#include "server/tls_source.h"
#include "session/worker.h"

enum listener_kind { LISTENER_PLAIN, LISTENER_TLS, LISTENER_ADMIN, LISTENERS };

struct hermes {
    struct settings settings;
    struct logger logger;
    struct addresses addresses;
    struct workshop shop;
    struct acceptor acceptor;
    struct admin *admin;          /* NULL: none */
    struct cluster *cluster;      /* NULL: it is alone */
    struct tls_source tls_source; /* where `tls` */
    bool tls;
    struct metrics outside;   /* of hermes_publish: many threads, so added to atomically */
    _Atomic unsigned running; /* threads */
    bool started;
    bool joined;
    void (*stopped)(void *user);
    void *user;
    void (*on_draining)(void *user);
    void *on_draining_user;
    struct secret jwt_secret; /* as it was set, for reloads; `at` NULL: it was not */
    struct secret admin_token;
    struct listen_given given[LISTENERS]; /* sockets in place of ports, until it has started */
    uint64_t alive;                       /* asked of the workers so far */
    struct buf ignored; /* names of settings that there are not, each with its terminator */
    char error[512];
};

static inline uint64_t hermes_number(const struct hermes *h, enum setting which)
{
    return h->settings.numbers[which];
}

static inline const char *hermes_text(const struct hermes *h, enum setting which)
{
    return h->settings.texts[which];
}

/* service.c: closes the sockets that were given: the listeners have duplicates of theirs. */
void hermes_forget_given(struct hermes *h);

/* callers.c: what WS_ALLOWED_ORIGINS, WS_PROXY_PROTOCOL and WS_TRUSTED_PROXIES say, into the shop.
 * HERMES_OK, or another, the fault in h->error, and nothing to forget. */
int hermes_read_callers(struct hermes *h);
void hermes_forget_callers(struct hermes *h);

/* callers.c: sees that the settings of TLS go together. HERMES_OK, or another and the fault in
 * h->error. */
int hermes_check_tls(struct hermes *h);

/* admin_port.c: opens the admin listener, where one is asked for. HERMES_OK, or another and the
 * fault in h->error. `ended` as of the other threads. */
int hermes_open_admin(struct hermes *h, void (*ended)(void *user));
void hermes_log_admin(struct hermes *h);

/* admin_port.c: reads the token's file anew, if there is one; logs what came of it. */
int hermes_reload_admin(struct hermes *h);

/* cluster_setup.c: opens the cluster thread, where there is a cluster. HERMES_OK, or another and
 * the fault in h->error. `ended` as of the other threads. */
int hermes_open_cluster(struct hermes *h, void (*ended)(void *user));
void hermes_free_cluster(struct hermes *h);

/* server.c: hermes_drain, for the broker's own threads, which may run before it counts as started.
 */
void hermes_begin_drain(struct hermes *h);

/* running.c: tells the workers that there is something new for them. */
void hermes_tell_workers(struct hermes *h);

/* running.c: what WS_CONFIG says, with a reference; when it is empty there are none, and at the
 * start NULL. HERMES_OK, or another and the fault in h->error. */
int hermes_read_rules(struct hermes *h, struct rules **out);

/* running.c: that so many are in force. */
void hermes_log_rules(struct hermes *h, size_t count);

/* tokens.c: what tokens are checked with, with a reference; NULL when nothing is set. HERMES_OK, or
 * another and the fault in h->error. */
int hermes_read_keys(struct hermes *h, struct auth_keys **out);

/* tokens.c: which are in use; `keys` may be NULL. */
void hermes_log_keys(struct hermes *h, const struct auth_keys *keys);

#endif
