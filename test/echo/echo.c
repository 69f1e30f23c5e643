#include "echo/echo.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/units.h"
#include "net/listen.h"

/* MESSAGE_BYTES: the broker's own default. SPARE_READERS: as in the broker, so that reuse of
 * readers is tested too. */
enum { MESSAGE_BYTES = 1 << 20, FRAGMENTS_MAX = 1 << 20, SPARE_READERS = 64, BACKLOG = 128 };

static void accept_ready(uv_poll_t *poll, int status, int readiness)
{
    struct echo *e = poll->data;
    (void)readiness;
    if (status < 0)
        return;
    int fd = accept4(
        LIST_ITEM(poll, struct echo_listener, poll)->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        client_open(e, fd);
}

bool echo_open(struct echo *e, uv_loop_t *loop, const char *host, int port, size_t max_message,
    char *error, size_t error_size)
{
    struct ws_settings framing = {
        .max_message = max_message,
        .max_fragments = FRAGMENTS_MAX,
        .server = true,
        .spare = SPARE_READERS,
    };
    int fds[ECHO_LISTENERS];
    e->loop = loop;
    e->port = port;
    list_init(&e->clients);
    e->readers = ws_pool_new(&framing);
    if (!e->readers) {
        snprintf(error, error_size, "out of memory");
        return false;
    }
    int code = poller_open(&e->poller, loop, client_ready);
    if (code != 0) {
        snprintf(error, error_size, "%s", uv_strerror(code));
        ws_pool_free(e->readers);
        return false;
    }
    /* What is to be waited for at the end are the clients' timers. */
    uv_unref((uv_handle_t *)&e->poller.handle);
    struct listen_at at = {
        .host = host, .host_setting = "the host", .port_setting = "--port", .backlog = BACKLOG};
    e->listener_count = listen_open(&at, &e->port, fds, ECHO_LISTENERS, error, error_size);
    if (e->listener_count < 0) {
        echo_fini(e);
        return false;
    }
    for (int i = 0; i < e->listener_count; i++) {
        struct echo_listener *l = &e->listeners[i];
        l->fd = fds[i];
        uv_poll_init(loop, &l->poll, l->fd);
        l->poll.data = e;
        uv_poll_start(&l->poll, UV_READABLE, accept_ready);
    }
    return true;
}

void echo_stop(struct echo *e)
{
    for (int i = 0; i < e->listener_count; i++) {
        uv_close((uv_handle_t *)&e->listeners[i].poll, NULL);
        close(e->listeners[i].fd);
    }
    clients_close(e);
}

void echo_fini(struct echo *e)
{
    poller_close(&e->poller);
    uv_run(e->loop, UV_RUN_DEFAULT);
    ws_pool_free(e->readers);
}

/* --- the program ------------------------------------------------------------------------------ */

struct options {
    const char *host;
    uint64_t port;
    uint64_t max_message;
};

static bool read_options(struct options *o, int argc, char **argv)
{
    *o = (struct options){"127.0.0.1", 0, MESSAGE_BYTES};
    for (int i = 1; i < argc; i += 2) {
        const char *value = argv[i + 1]; /* argv ends with NULL */
        if (!value)
            return false;
        if (strcmp(argv[i], "--host") == 0)
            o->host = value;
        else if (strcmp(argv[i], "--port") != 0 && strcmp(argv[i], "--max-message-bytes") != 0)
            return false;
        else if (argv[i][2] == 'p' ? !units_number(value, &o->port) || o->port > 65535
                                   : !units_size(value, &o->max_message) || o->max_message == 0)
            return false;
    }
    return true;
}

struct signals {
    struct echo *echo;
    uv_signal_t terminate;
    uv_signal_t interrupt;
};

static void signalled(uv_signal_t *signal, int number)
{
    struct signals *s = signal->data;
    (void)number;
    uv_close((uv_handle_t *)&s->terminate, NULL);
    uv_close((uv_handle_t *)&s->interrupt, NULL);
    echo_stop(s->echo);
}

int main(int argc, char **argv)
{
    struct options options;
    struct echo echo;
    struct signals signals = {.echo = &echo};
    uv_loop_t loop;
    char error[512];
    if (!read_options(&options, argc, argv)) {
        fprintf(stderr, "usage: echo [--port N] [--host ADDRESS] [--max-message-bytes N]\n"
                        "Without a port: any free one, which is printed.\n");
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&loop);
    if (!echo_open(&echo, &loop, options.host, (int)options.port, (size_t)options.max_message,
            error, sizeof error)) {
        fprintf(stderr, "echo: %s\n", error);
        uv_loop_close(&loop);
        return 1;
    }
    uv_signal_init(&loop, &signals.terminate);
    uv_signal_init(&loop, &signals.interrupt);
    signals.terminate.data = &signals;
    signals.interrupt.data = &signals;
    uv_signal_start(&signals.terminate, signalled, SIGTERM);
    uv_signal_start(&signals.interrupt, signalled, SIGINT);
    printf("listening port=%d\n", echo.port);
    fflush(stdout);
    uv_run(&loop, UV_RUN_DEFAULT);
    echo_fini(&echo);
    return uv_loop_close(&loop) == 0 ? 0 : 1;
}
