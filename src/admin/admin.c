#include "admin/admin.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "admin/api_state.h"
#include "admin/http_conn.h"
#include "admin/loads.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/wipe.h"
#include "broker/backplane.h"
#include "net/endpoint.h"
#include "net/listen.h"
#include "session/inquiry.h"

enum { BACKLOG = 128, RETRY_MS = 100 };

/* --- accepting -------------------------------------------------------------------------------- */

static void accept_ready(uv_poll_t *poll, int status, int events);

static void listen_on(struct admin *a, bool yes)
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

/* All places are taken by requests that are under way. The answer is short enough to fit into the
 * socket's buffer. */
static void turn_away(struct admin *a, int fd)
{
    static const char body[] = "{\"error\":{\"code\":\"unavailable\",\"message\":\"There are "
                               "too many connections to this listener.\"}}\n";
    char answer[512];
    int len = snprintf(answer, sizeof answer,
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        "Content-Length: %zu\r\nCache-Control: no-store\r\nRetry-After: 1\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Connection: close\r\n\r\n%s",
        sizeof body - 1, body);
    if (send(fd, answer, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        shutdown(fd, SHUT_WR);
    close(fd);
    metric_add(&a->metrics, METRIC_admin_refused_total, 1);
}

/* True when there may be more. */
static bool accept_one(struct admin *a, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        if (a->connection_count < ADMIN_CONNECTIONS_MAX || http_conn_make_room(a))
            http_conn_open(a, fd);
        else
            turn_away(a, fd);
        return true;
    }
    if (errno == EAGAIN)
        return false;
    if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
        return true; /* that one connection is gone already */
    /* It stays in the queue and the socket readable: asking again at once would spin. */
    listen_on(a, false);
    uv_timer_start(&a->retry, retry, RETRY_MS, 0);
    return false;
}

static void accept_ready(uv_poll_t *poll, int status, int events)
{
    struct admin *a = poll->data;
    int fd = LIST_ITEM(poll, struct admin_listener, poll)->fd;
    int accepted = 0;
    (void)status;
    (void)events;
    while (accepted < ADMIN_CONNECTIONS_MAX && accept_one(a, fd))
        accepted++;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void close_listeners(struct admin *a)
{
    for (size_t i = 0; i < a->listener_count; i++) {
        uv_close((uv_handle_t *)&a->listeners[i].poll, NULL);
        close(a->listeners[i].fd);
    }
    a->listener_count = 0;
}

void admin_maybe_end(struct admin *a)
{
    if (!a->stopping || a->ending || a->connection_count > 0 || a->asking > 0)
        return;
    a->ending = true;
    mailbox_close(&a->box);
    wheel_close(&a->wheel, NULL);
    uv_close((uv_handle_t *)&a->retry, NULL);
}

static void stop(struct admin *a)
{
    if (a->stopping)
        return;
    a->stopping = true;
    close_listeners(a);
    api_close(a);
    for (struct list *at = a->connections.next, *next; at != &a->connections; at = next) {
        next = at->next;
        http_conn_end(LIST_ITEM(at, struct http_conn, node));
    }
    admin_maybe_end(a);
}

void admin_stop(struct admin *a)
{
    mailbox_post(&a->box, (struct mail){.kind = MAIL_DRAIN});
}

/* --- its token -------------------------------------------------------------------------------- */

static void token_free(struct secret *token)
{
    if (token)
        secret_fini(token);
    free(token);
}

static struct secret *token_new(struct text text)
{
    struct secret *token = calloc(1, sizeof *token);
    if (token && secret_init(token, text.len)) {
        memcpy(token->at, text.at, text.len);
        wipe_registers();
        return token;
    }
    free(token);
    return NULL;
}

bool admin_set_token(struct admin *a, struct text text)
{
    struct secret *token = token_new(text);
    if (token && mailbox_post(&a->box, (struct mail){.kind = MAIL_RULES, .item = token}))
        return true;
    token_free(token);
    return false;
}

static void take_token(struct admin *a, struct secret *token)
{
    token_free(a->token);
    a->token = token;
}

/* --- its mail --------------------------------------------------------------------------------- */

void admin_ask(struct admin *a, struct inquiry *q, const uint64_t *workers)
{
    a->asking++;
    inquiry_ask(q, a->settings.shop, workers);
}

static void lost(struct errand *e)
{
    die("errand %d was lost, though the listener waits for all", (int)e->kind);
}

void admin_send(struct admin *a, struct errand *e)
{
    a->asking++;
    e->home = &a->box;
    e->lost = lost;
    backplane_send(&a->settings.shop->route, e);
}

static void mail_came(void *user)
{
    struct admin *a = user;
    do {
        mailbox_take(&a->box, &a->tray);
        while (a->tray.at < a->tray.count) {
            struct mail mail = a->tray.mails[a->tray.at++];
            if (mail.kind == MAIL_INQUIRY) {
                a->asking--;
                inquiry_finish(mail.item);
            } else if (mail.kind == MAIL_ERRAND) {
                a->asking--;
                mailbox_done(&a->box, mail.weight);
                errand_finish(mail.item);
            } else if (mail.kind == MAIL_RULES) {
                take_token(a, mail.item);
            } else {
                MUST(mail.kind == MAIL_DRAIN);
                stop(a);
            }
        }
        /* Whoever posts next must ring: this box is only looked at when it does. */
    } while (!mailbox_sleep(&a->box));
    admin_maybe_end(a);
}

/* --- start and stop --------------------------------------------------------------------------- */

static bool is_loopback(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return false;
    struct endpoint end = endpoint_of((struct sockaddr *)&address);
    static const struct ip v6 = {.bytes = {[15] = 1}};
    return ip_is_v4(&end.ip) ? end.ip.bytes[12] == 127 : memcmp(&end.ip, &v6, sizeof v6) == 0;
}

static enum admin_fault refuse_exposed(
    const struct admin *a, const int *fds, int count, char *error, size_t error_size)
{
    bool local = true;
    for (int i = 0; i < count; i++)
        local &= is_loopback(fds[i]);
    if (local || a->settings.token.len > 0)
        return ADMIN_OPENED;
    if (a->settings.given && a->settings.given->count > 0) {
        snprintf(error, error_size,
            "the socket given for WS_ADMIN_PORT would let others than this machine in: set "
            "WS_ADMIN_TOKEN or WS_ADMIN_TOKEN_FILE, or bind it to 127.0.0.1 "
            "(ListenStream=127.0.0.1:8090)");
        return ADMIN_EXPOSED;
    }
    snprintf(error, error_size,
        "WS_ADMIN_HOST=%s would let others than this machine in: set WS_ADMIN_TOKEN or "
        "WS_ADMIN_TOKEN_FILE, or leave it at 127.0.0.1",
        a->settings.host);
    return ADMIN_EXPOSED;
}

static int loop_open(struct admin *a)
{
    int code = uv_loop_init(&a->loop);
    if (code != 0)
        return code;
    code = mailbox_open(&a->box, &a->loop, mail_came, a);
    if (code != 0) {
        uv_loop_close(&a->loop);
        return code;
    }
    uv_timer_init(&a->loop, &a->retry);
    a->retry.data = a;
    wheel_open(&a->wheel, &a->loop, http_conn_deadline, a);
    MUST(mailbox_sleep(&a->box));
    return 0;
}

enum admin_fault admin_open(
    struct admin *a, const struct admin_settings *settings, char *error, size_t error_size)
{
    int fds[ADMIN_LISTENERS_MAX];
    struct listen_at at = {
        settings->host, "WS_ADMIN_HOST", "WS_ADMIN_PORT", BACKLOG, settings->given};
    *a = (struct admin){.settings = *settings, .port = settings->port, .started_ms = clock_ms()};
    list_init(&a->connections);
    int count = listen_open(&at, &a->port, fds, ADMIN_LISTENERS_MAX, error, error_size);
    if (count < 0)
        return ADMIN_UNBOUND;
    enum admin_fault fault = refuse_exposed(a, fds, count, error, error_size);
    int code = fault == ADMIN_OPENED ? loop_open(a) : 0;
    if (fault != ADMIN_OPENED || code != 0) {
        if (code != 0)
            snprintf(error, error_size, "cannot make an event loop: %s", uv_strerror(code));
        while (count > 0)
            close(fds[--count]);
        return fault != ADMIN_OPENED ? fault : ADMIN_NO_LOOP;
    }
    for (int i = 0; i < count; i++) {
        struct admin_listener *listener = &a->listeners[a->listener_count++];
        listener->fd = fds[i];
        uv_poll_init(&a->loop, &listener->poll, fds[i]);
        listener->poll.data = a;
    }
    a->loads = calloc(settings->shop->count, sizeof *a->loads);
    for (unsigned i = 0; a->loads && i < settings->shop->count; i++)
        a->loads[i].at_ns = clock_ns();
    if (settings->token.len > 0)
        a->token = token_new(settings->token);
    a->settings.token = (struct text){0}; /* the caller's may go */
    if (!a->loads || (settings->token.len > 0 && !a->token) || !api_open(a)) {
        a->stopping = true;
        close_listeners(a);
        admin_fini(a);
        snprintf(error, error_size, "out of memory");
        return ADMIN_NO_LOOP;
    }
    return ADMIN_OPENED;
}

static void admin_main(void *user)
{
    struct admin *a = user;
    uv_run(&a->loop, UV_RUN_DEFAULT);
    a->settings.ended(a->settings.user);
}

int admin_start(struct admin *a)
{
    listen_on(a, true);
    return uv_thread_create(&a->thread, admin_main, a);
}

void admin_join(struct admin *a)
{
    uv_thread_join(&a->thread);
}

void admin_fini(struct admin *a)
{
    if (!a->ending) { /* never ran */
        stop(a);
        admin_maybe_end(a);
        uv_run(&a->loop, UV_RUN_DEFAULT);
    }
    if (a->api)
        api_fini(a);
    /* What came after the last look. */
    mailbox_take(&a->box, &a->tray);
    for (; a->tray.at < a->tray.count; a->tray.at++)
        if (a->tray.mails[a->tray.at].kind == MAIL_RULES)
            take_token(a, a->tray.mails[a->tray.at].item);
    token_free(a->token);
    free(a->loads);
    tray_fini(&a->tray);
    mailbox_fini(&a->box);
    MUST(uv_loop_close(&a->loop) == 0);
}
