/* The admin listener without a thread, beside workers without threads: the test turns all loops.
 *
 * Order: desk_open, requests as wanted, desk_close. Clients are AF_UNIX socket pairs. Include what
 * worker_harness.h needs before this. */
#ifndef HERMES_SUPPORT_ADMIN_HARNESS_H
#define HERMES_SUPPORT_ADMIN_HARNESS_H

#include "admin/admin.h"
#include "admin/http_conn.h"
#include "base/clock.h"
#include "support/worker_harness.h"

enum { DESK_BODY_MAX = 64 * 1024, DESK_PATIENCE_MS = 60000 };

struct desk {
    struct rig rig;
    struct admin *admin;
    struct metrics outside;
    struct metrics acceptor;
    unsigned drains;
};

static inline void desk_drained(void *user)
{
    ((struct desk *)user)->drains++;
}

static inline void desk_ended(void *user)
{
    (void)user;
}

static inline void desk_open(struct desk *d, unsigned workers, struct text token)
{
    char error[256];
    memset(&d->outside, 0, sizeof d->outside);
    memset(&d->acceptor, 0, sizeof d->acceptor);
    d->drains = 0;
    rig_open(&d->rig, workers, rig_limits());
    struct admin_settings settings = {.host = "127.0.0.1",
        .token = token,
        .body_max = DESK_BODY_MAX,
        .shop = &d->rig.shop,
        .outside = &d->outside,
        .acceptor = &d->acceptor,
        .public_port = 443,
        .drain = desk_drained,
        .ended = desk_ended,
        .user = d};
    d->admin = aligned_alloc(64, (sizeof *d->admin + 63) / 64 * 64);
    assert_non_null(d->admin);
    assert_int_equal(admin_open(d->admin, &settings, error, sizeof error), ADMIN_OPENED);
}

static inline void desk_turn(struct desk *d)
{
    uv_run(&d->admin->loop, UV_RUN_NOWAIT);
    rig_turn(&d->rig);
}

/* Ends it in order, whatever is under way. */
static inline void desk_close(struct desk *d)
{
    uint64_t end = clock_ms() + DESK_PATIENCE_MS;
    admin_stop(d->admin);
    while (!d->admin->ending && clock_ms() < end)
        desk_turn(d);
    assert_true(d->admin->ending);
    uv_run(&d->admin->loop, UV_RUN_DEFAULT);
    assert_int_equal(d->admin->held_bytes, 0);
    admin_fini(d->admin);
    free(d->admin);
    rig_close(&d->rig);
}

/* Our end of a connection, which does not block. */
static inline int desk_connect(struct desk *d)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    http_conn_open(d->admin, fds[1]);
    return fds[0];
}

/* Sends all bytes, in pieces of that size (0: at once), ends our side, and takes what comes until
 * the listener ends its own; false when it does not. */
static inline bool desk_ask(
    struct desk *d, const char *bytes, size_t len, size_t piece, struct buf *answers)
{
    uint64_t end = clock_ms() + DESK_PATIENCE_MS;
    int fd = desk_connect(d);
    size_t sent = 0;
    bool ended = false;
    while (!ended && clock_ms() < end) {
        char taken[4096];
        size_t most = piece > 0 && piece < len - sent ? piece : len - sent;
        ssize_t wrote = most > 0 ? send(fd, bytes + sent, most, MSG_NOSIGNAL) : 0;
        if (wrote < 0 && errno != EAGAIN)
            sent = len; /* it listens no more */
        sent += wrote > 0 ? (size_t)wrote : 0;
        if (sent == len)
            shutdown(fd, SHUT_WR);
        desk_turn(d);
        ssize_t got = recv(fd, taken, sizeof taken, 0);
        if (got > 0)
            buf_append(answers, taken, (size_t)got);
        ended = got == 0 || (got < 0 && errno != EAGAIN);
    }
    close(fd);
    return ended;
}

#endif
