#include "net/acceptor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/list.h"
#include "net/connection.h"

enum { RETRY_MS = 100, TICK_MS = 1000, BUSY_NS = 1000000, REST_NS = 500000 };

static void accept_ready(uv_poll_t *poll, int status, int events);

static void listen_on(struct acceptor *a, bool yes)
{
    for (size_t i = 0; i < a->listener_count; i++) {
        if (yes)
            uv_poll_start(&a->listeners[i].poll, UV_READABLE, accept_ready);
        else
            uv_poll_stop(&a->listeners[i].poll);
    }
}

static void retry(uv_timer_t *timer)
{
    listen_on(timer->data, true);
}

/* Counts a connection for its address, where that is known already. */
static enum connection_refusal count(
    struct acceptor *a, const struct ip *from, struct address **address)
{
    const struct acceptor_settings *s = &a->settings;
    if (s->proxy_head || cidr_has(s->trusted, from))
        return REFUSAL_UNDECIDED;
    return address_hold(s->addresses, from, address) ? REFUSAL_NONE : REFUSAL_ADDRESS;
}

/* Just closes it: there are too many to answer each. */
static void drop(
    struct acceptor *a, int fd, const struct endpoint *peer, enum metric metric, const char *reason)
{
    char text[ENDPOINT_TEXT_MAX];
    int64_t others = atomic_fetch_sub(a->settings.connections, 1) - 1;
    metric_add(&a->metrics, metric, 1);
    close(fd);
    LOG_LIMITED(a->settings.logger, LIMIT_REFUSED, LOG_WARN, "connection refused",
        LOG_STRING("reason", reason), LOG_NUMBER("connections", others),
        LOG_STRING("address", endpoint_text(peer, text)));
}

/* Hands one socket out. */
static void hand_over(
    struct acceptor *a, const struct listener *by, int fd, const struct sockaddr *from)
{
    const struct acceptor_settings *s = &a->settings;
    struct endpoint peer = endpoint_of(from);
    struct connection connection = {.fd = fd, .tls = by->tls};
    int64_t others = atomic_fetch_add(s->connections, 1);
    if (others >= s->max_connections + s->refusals) {
        drop(a, fd, &peer, METRIC_refused_full_total, "full");
        return;
    }
    if (gate_enter(&a->gate, clock_ns(), true) != 0) {
        drop(a, fd, &peer, METRIC_refused_rate_total, "rate");
        return;
    }
    if (others >= s->max_connections)
        connection.refusal = REFUSAL_FULL;
    else
        connection.refusal = count(a, &peer.ip, &connection.address);
    if (!mailbox_post(s->boxes[a->next], connection_mail(&connection))) {
        atomic_fetch_sub(s->connections, 1);
        address_drop(s->addresses, connection.address);
        close(fd);
    }
    a->next = (a->next + 1) % s->workers;
}

/* True when there may be more. */
static bool accept_one(struct acceptor *a, const struct listener *listener)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    int fd = accept4(listener->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        hand_over(a, listener, fd, (struct sockaddr *)&from);
        return true;
    }
    switch (errno) {
    case EAGAIN:
        return false;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        /* The connection stays in the queue and the socket readable: asking again at once would
         * spin until somebody closes something. */
        LOG_LIMITED(a->settings.logger, LIMIT_ACCEPT, LOG_WARN, "accept failed",
            LOG_STRING("reason", strerror(errno)), LOG_NUMBER("again_in_ms", RETRY_MS));
        metric_add(&a->metrics, METRIC_accept_errors_total, 1);
        listen_on(a, false);
        uv_timer_start(&a->retry, retry, RETRY_MS, 0);
        return false;
    default:
        return true; /* that one connection is gone already */
    }
}

/* While connections come one by one but fast, a short sleep lets some of them gather: waking this
 * thread and a worker for each costs more than all else that Hermes does for it. Nobody waits for
 * it who comes alone. */
static void rest(struct acceptor *a)
{
    uint64_t now = uv_hrtime();
    if (now - a->woken < BUSY_NS)
        nanosleep(&(struct timespec){.tv_nsec = REST_NS}, NULL);
    a->woken = uv_hrtime();
}

static void accept_ready(uv_poll_t *poll, int status, int events)
{
    struct acceptor *a = poll->data;
    (void)status;
    (void)events;
    const struct listener *listener = LIST_ITEM(poll, struct listener, poll);
    int accepted = 0;
    while (accepted < ACCEPTS_A_WAKE && accept_one(a, listener))
        accepted++;
    if (accepted < ACCEPTS_A_WAKE)
        rest(a);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void close_listeners(struct acceptor *a)
{
    for (size_t i = 0; i < a->listener_count; i++) {
        uv_close((uv_handle_t *)&a->listeners[i].poll, NULL);
        close(a->listeners[i].fd);
    }
    uv_close((uv_handle_t *)&a->retry, NULL);
    uv_close((uv_handle_t *)&a->delay, NULL);
    uv_close((uv_handle_t *)&a->tick, NULL);
    mailbox_close(&a->box);
}

static void delay_over(uv_timer_t *timer)
{
    struct acceptor *a = timer->data;
    close_listeners(a);
    for (unsigned i = 0; i < a->settings.workers; i++)
        mailbox_post(a->settings.boxes[i], (struct mail){.kind = MAIL_DRAIN});
}

static void mail_came(void *user)
{
    struct acceptor *a = user;
    bool mail = mailbox_take(&a->box, &a->tray);
    a->tray.at = a->tray.count;
    if (mail && !a->draining) {
        a->draining = true;
        uv_timer_start(&a->delay, delay_over, a->settings.drain_delay_ms, 0);
    }
    /* Whoever posts next must ring: this box is only looked at when it does. */
    if (!a->draining)
        MUST(mailbox_sleep(&a->box));
}

void acceptor_drain(struct acceptor *a)
{
    mailbox_post(&a->box, (struct mail){.kind = MAIL_DRAIN});
}

/* --- start and stop --------------------------------------------------------------------------- */

static void acceptor_main(void *user)
{
    struct acceptor *a = user;
    uv_run(&a->loop, UV_RUN_DEFAULT);
    a->settings.ended(a->settings.user);
}

static void close_sockets(struct acceptor *a)
{
    while (a->listener_count > 0)
        close(a->listeners[--a->listener_count].fd);
}

static bool bind_all(struct acceptor *a, int *port, bool tls, char *error, size_t error_size)
{
    int fds[LISTENERS_MAX];
    bool other = port == &a->tls_port;
    struct listen_at at = {
        .host = a->settings.host,
        .host_setting = "WS_HOST",
        .port_setting = other ? "WS_TLS_PORT" : "WS_PORT",
        .backlog = a->settings.backlog,
        .given = other ? a->settings.tls_given : a->settings.given,
    };
    int room = LISTENERS_MAX - (int)a->listener_count;
    int count = listen_open(&at, port, fds, room, error, error_size);
    for (int i = 0; i < count; i++)
        a->listeners[a->listener_count++] = (struct listener){.fd = fds[i], .tls = tls};
    return count > 0;
}

int acceptor_open(
    struct acceptor *a, const struct acceptor_settings *settings, char *error, size_t error_size)
{
    *a = (struct acceptor){
        .settings = *settings,
        .port = settings->port,
        .tls_port = settings->tls_port,
    };
    gate_init(&a->gate, settings->accepts_per_second);
    if (!bind_all(a, &a->port, settings->tls, error, error_size) ||
        (a->tls_port >= 0 && !bind_all(a, &a->tls_port, true, error, error_size))) {
        close_sockets(a);
        return -1;
    }
    int code = uv_loop_init(&a->loop);
    if (code == 0 && (code = mailbox_open(&a->box, &a->loop, mail_came, a)) != 0)
        uv_loop_close(&a->loop);
    if (code != 0) {
        snprintf(error, error_size, "cannot make an event loop: %s", uv_strerror(code));
        close_sockets(a);
        return -1;
    }
    uv_timer_init(&a->loop, &a->retry);
    uv_timer_init(&a->loop, &a->delay);
    uv_timer_init(&a->loop, &a->tick);
    a->retry.data = a;
    a->delay.data = a;
    a->tick.data = a;
    for (size_t i = 0; i < a->listener_count; i++) {
        uv_poll_init(&a->loop, &a->listeners[i].poll, a->listeners[i].fd);
        a->listeners[i].poll.data = a;
    }
    MUST(mailbox_sleep(&a->box));
    return 0;
}

static void ticked(uv_timer_t *timer)
{
    const struct acceptor *a = timer->data;
    a->settings.tick(a->settings.user);
}

int acceptor_start(struct acceptor *a)
{
    listen_on(a, true);
    if (a->settings.tick)
        uv_timer_start(&a->tick, ticked, TICK_MS, TICK_MS);
    return uv_thread_create(&a->thread, acceptor_main, a);
}

void acceptor_join(struct acceptor *a)
{
    uv_thread_join(&a->thread);
}

void acceptor_fini(struct acceptor *a)
{
    if (!uv_is_closing((uv_handle_t *)&a->retry)) { /* never ran */
        close_listeners(a);
        uv_run(&a->loop, UV_RUN_DEFAULT);
    }
    tray_fini(&a->tray);
    mailbox_fini(&a->box);
    MUST(uv_loop_close(&a->loop) == 0);
}
