#include "net/acceptor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/die.h"
#include "base/list.h"
#include "net/listen.h"

enum { RETRY_MS = 100, BUSY_NS = 1000000, REST_NS = 500000 };

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

/* Whether one more may come this second. */
static bool within_rate(struct acceptor *a)
{
    int64_t limit = a->settings.max_per_second * 1000;
    uint64_t now = uv_now(&a->loop);
    if (limit == 0)
        return true;
    a->allowance += (int64_t)(now - a->allowance_ms) * a->settings.max_per_second;
    a->allowance_ms = now;
    if (a->allowance > limit)
        a->allowance = limit;
    if (a->allowance < 1000)
        return false;
    a->allowance -= 1000;
    return true;
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

/* Hands one socket out. */
static void hand_over(struct acceptor *a, int fd, const struct sockaddr *from)
{
    const struct acceptor_settings *s = &a->settings;
    struct endpoint peer = endpoint_of(from);
    char text[ENDPOINT_TEXT_MAX];
    enum connection_refusal refusal;
    struct address *address = NULL;
    int64_t others = atomic_fetch_add(s->connections, 1);
    if (others >= s->max_connections + s->refusals) {
        atomic_fetch_sub(s->connections, 1);
        metric_add(&a->metrics, METRIC_refused_full_total, 1);
        close(fd);
        LOG_LIMITED(s->logger, LIMIT_REFUSED, LOG_WARN, "connection refused",
            LOG_STRING("reason", "full"), LOG_NUMBER("connections", others),
            LOG_STRING("address", endpoint_text(&peer, text)));
        return;
    }
    if (others >= s->max_connections)
        refusal = REFUSAL_FULL;
    else if (!within_rate(a))
        refusal = REFUSAL_RATE;
    else
        refusal = count(a, &peer.ip, &address);
    struct mail mail = {
        .kind = MAIL_CONNECTION,
        .item = address,
        .word = (uint64_t)refusal << 32 | (uint32_t)fd,
    };
    if (!mailbox_post(s->boxes[a->next], mail)) {
        atomic_fetch_sub(s->connections, 1);
        address_drop(s->addresses, address);
        close(fd);
    }
    a->next = (a->next + 1) % s->workers;
}

/* True when there may be more. */
static bool accept_one(struct acceptor *a, int listener)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    int fd = accept4(listener, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        hand_over(a, fd, (struct sockaddr *)&from);
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
    int fd = LIST_ITEM(poll, struct listener, poll)->fd;
    int accepted = 0;
    while (accepted < ACCEPTS_A_WAKE && accept_one(a, fd))
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

int acceptor_open(
    struct acceptor *a, const struct acceptor_settings *settings, char *error, size_t error_size)
{
    int fds[LISTENERS_MAX];
    *a = (struct acceptor){
        .settings = *settings,
        .port = settings->port,
        .allowance = settings->max_per_second * 1000,
    };
    struct listen_at at = {settings->host, "WS_HOST", "WS_PORT", settings->backlog};
    int count = listen_open(&at, &a->port, fds, LISTENERS_MAX, error, error_size);
    if (count < 0)
        return -1;
    int code = uv_loop_init(&a->loop);
    if (code == 0 && (code = mailbox_open(&a->box, &a->loop, mail_came, a)) != 0)
        uv_loop_close(&a->loop);
    if (code != 0) {
        snprintf(error, error_size, "cannot make an event loop: %s", uv_strerror(code));
        while (count > 0)
            close(fds[--count]);
        return -1;
    }
    uv_timer_init(&a->loop, &a->retry);
    uv_timer_init(&a->loop, &a->delay);
    a->retry.data = a;
    a->delay.data = a;
    for (int i = 0; i < count; i++) {
        struct listener *listener = &a->listeners[a->listener_count++];
        listener->fd = fds[i];
        uv_poll_init(&a->loop, &listener->poll, fds[i]);
        listener->poll.data = a;
    }
    MUST(mailbox_sleep(&a->box));
    return 0;
}

int acceptor_start(struct acceptor *a)
{
    listen_on(a, true);
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
