/* hermes serve: a broker with settings from the environment and the command line. */
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <uv.h>

#include "cli/cli.h"
#include "cli/notify.h"
#include "hermes/hermes.h"

enum { HEAP_KEPT = 4 << 20, SMALLEST = 72 };

struct serving {
    struct hermes *hermes;
    uv_loop_t loop;
    int signal_fd;
    uv_poll_t signals;
    uv_async_t draining;
    uv_async_t stopped;
    uv_timer_t watchdog;
    bool told_to_end; /* by a signal */
};

static int fault(const char *text)
{
    fprintf(stderr, "hermes: %s\n", text);
    return CLI_FAILED;
}

/* What differs from the defaults of a broker inside another program. */
static const char *own_default(const struct hermes_setting *setting)
{
    return strcmp(setting->variable, "WS_ADMIN_PORT") == 0 ? "auto" : setting->value;
}

static void print_help(void)
{
    size_t count;
    const struct hermes_setting *settings = hermes_settings(&count);
    printf(
        "usage: hermes serve [--FLAG VALUE]...\n\n"
        "Runs the server until SIGTERM or SIGINT; a second one ends it at once. SIGHUP reads the\n"
        "rules file (WS_CONFIG), the certificate (WS_TLS_CERT, WS_TLS_KEY), WS_ADMIN_TOKEN_FILE\n"
        "and the files of WS_JWT_... anew. Every setting is a flag and a variable of the\n"
        "environment; the flag wins.\n\n");
    for (size_t i = 0; i < count; i++) {
        printf("  --%s, %s\n      %s", settings[i].flag, settings[i].variable, settings[i].help);
        if (*own_default(&settings[i]))
            printf(" (default %s)", own_default(&settings[i]));
        putchar('\n');
    }
    printf(
        "\nSizes take k, m, g; times are seconds or take ms, s, m, h.\n\n"
        "A rules file says what holds for topics, by the first rule that matches (README.md has\n"
        "all keys): {\"rules\": [{\"match\": \"stock:*\", \"history\": 100, \"policy\": "
        "\"latest\"}]}\n\n"
        "exit code: 0 after a signal, 1 when it cannot start\n\n"
        "example: WS_PORT=8080 hermes serve --log-level debug\n");
}

/* --- settings --------------------------------------------------------------------------------- */

/* What is set is not to be seen where it came from: others may look at a process's arguments. */
static void hide_if_secret(const char *name, char *value)
{
    size_t count;
    const struct hermes_setting *settings = hermes_settings(&count);
    for (size_t i = 0; i < count; i++)
        if (settings[i].secret && value &&
            (strcmp(settings[i].variable, name) == 0 || strcmp(settings[i].flag, name) == 0))
            explicit_bzero(value, strlen(value));
}

static void set_own_defaults(struct hermes *h)
{
    size_t count;
    const struct hermes_setting *settings = hermes_settings(&count);
    for (size_t i = 0; i < count; i++)
        if (own_default(&settings[i]) != settings[i].value)
            hermes_set(h, settings[i].variable, own_default(&settings[i]));
}

static int from_environment(struct hermes *h)
{
    for (char **each = environ; *each; each++) {
        char name[128];
        char *equals = strchr(*each, '=');
        if (strncmp(*each, "WS_", 3) != 0 || !equals || (size_t)(equals - *each) >= sizeof name)
            continue;
        memcpy(name, *each, (size_t)(equals - *each));
        name[equals - *each] = '\0';
        switch (hermes_set(h, name, equals + 1)) {
        case HERMES_OK:
            hide_if_secret(name, equals + 1);
            break;
        case HERMES_UNKNOWN: /* orchestrators inject variables of their own */
            hermes_ignore(h, name);
            break;
        default:
            return fault(hermes_error(h));
        }
    }
    return CLI_OK;
}

/* --name value or --name=value. */
static int from_arguments(struct hermes *h, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char name[128];
        char *flag = argv[i];
        size_t len = strcspn(flag, "=");
        if (strcmp(flag, "--help") == 0 || strcmp(flag, "-h") == 0) {
            print_help();
            exit(CLI_OK);
        }
        if (strncmp(flag, "--", 2) != 0 || len < 3 || len - 2 >= sizeof name) {
            fprintf(stderr, "hermes: %s is no flag of serve: see hermes serve --help\n", flag);
            return CLI_FAILED;
        }
        memcpy(name, flag + 2, len - 2);
        name[len - 2] = '\0';
        char *value = flag[len] == '=' ? flag + len + 1 : argv[++i];
        int code = strncmp(name, "WS_", 3) == 0 ? HERMES_UNKNOWN
                   : value                      ? hermes_set(h, name, value)
                                                : hermes_set(h, name, "");
        if (code == HERMES_UNKNOWN) {
            fprintf(stderr, "hermes: --%s is no flag of serve: see hermes serve --help\n", name);
            return CLI_FAILED;
        }
        if (!value) {
            fprintf(stderr, "hermes: --%s wants a value: see hermes serve --help\n", name);
            return CLI_FAILED;
        }
        if (code != HERMES_OK)
            return fault(hermes_error(h));
        hide_if_secret(name, value);
    }
    return CLI_OK;
}

/* As many descriptors as the system lets this process have: each client is one. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* --- until a signal --------------------------------------------------------------------------- */

static void signalled(uv_poll_t *poll, int status, int events)
{
    struct serving *s = poll->data;
    struct signalfd_siginfo signal;
    (void)status;
    (void)events;
    if (read(s->signal_fd, &signal, sizeof signal) != (ssize_t)sizeof signal)
        return;
    if (signal.ssi_signo == SIGHUP) {
        notify_reloading();
        hermes_reload(s->hermes); /* which logs what came of it */
        notify("READY=1");
        return;
    }
    if (s->told_to_end) {
        fprintf(stderr, "hermes: second signal: ending at once\n");
        _exit(128 + (int)signal.ssi_signo);
    }
    s->told_to_end = true;
    hermes_drain(s->hermes);
}

/* A descriptor to read SIGTERM, SIGINT and SIGHUP from, which no longer interrupt anything. */
static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void close_all(uv_async_t *stopped)
{
    struct serving *s = stopped->data;
    uv_close((uv_handle_t *)&s->signals, NULL);
    uv_close((uv_handle_t *)&s->watchdog, NULL);
    uv_close((uv_handle_t *)&s->draining, NULL);
    uv_close((uv_handle_t *)&s->stopped, NULL);
}

static void tell_stopping(uv_async_t *draining)
{
    (void)draining;
    notify("STOPPING=1");
}

/* By a signal, or because POST /api/drain asked for it. */
static void broker_draining(void *user)
{
    struct serving *s = user;
    uv_async_send(&s->draining);
}

static void broker_stopped(void *user)
{
    struct serving *s = user;
    uv_async_send(&s->stopped);
}

/* --- the service manager ---------------------------------------------------------------------- */

/* The sockets that it has bound, by their names (FileDescriptorName=): those called tls and admin
 * are for these, all others for clients. */
static int take_sockets(struct hermes *h)
{
    char name[32];
    int fd;
    for (int i = 0; (fd = notify_socket(i, name, sizeof name)) >= 0; i++) {
        const char *setting = strcmp(name, "tls") == 0     ? "WS_TLS_PORT"
                              : strcmp(name, "admin") == 0 ? "WS_ADMIN_PORT"
                                                           : "WS_PORT";
        if (hermes_listen_on(h, setting, fd) != HERMES_OK)
            return fault(hermes_error(h));
    }
    notify_forget();
    return CLI_OK;
}

static void show_alive(uv_timer_t *timer)
{
    struct serving *s = timer->data;
    if (hermes_alive(s->hermes))
        notify("WATCHDOG=1");
}

static void tell_ready(struct serving *s)
{
    uint64_t every = notify_watchdog_ms();
    char lines[80];
    snprintf(lines, sizeof lines, "READY=1\nSTATUS=Listening on port %d", hermes_port(s->hermes));
    notify(lines);
    if (every > 0)
        uv_timer_start(&s->watchdog, show_alive, every, every);
}

/* What glibc does by default that a server with much traffic pays for again and again. */
static void settle_malloc(void)
{
#ifdef M_MXFAST
    /* Small freed blocks are put aside and merged all at once when a large one is asked for: with a
     * million topics that takes a tenth of a second. So only the smallest, which no topic is among
     * but the big numbers of handshakes: these would take 6 % longer. */
    mallopt(M_MXFAST, SMALLEST);
    /* 128 KiB free at the end of the heap go back to the system: the messages of one round may well
     * be more, and each page is cleared and mapped anew in the next. */
    mallopt(M_TRIM_THRESHOLD, HEAP_KEPT);
    mallopt(M_MMAP_THRESHOLD, HEAP_KEPT); /* or it would stay at 128 KiB, now that one is set */
#endif
}

static int serve(struct serving *s)
{
    s->signal_fd = open_signals();
    if (s->signal_fd < 0 || uv_loop_init(&s->loop) != 0)
        return fault("cannot make an event loop: too few descriptors or too little memory");
    uv_poll_init(&s->loop, &s->signals, s->signal_fd);
    uv_async_init(&s->loop, &s->draining, tell_stopping);
    uv_async_init(&s->loop, &s->stopped, close_all); /* behind it, as they are called */
    uv_timer_init(&s->loop, &s->watchdog);
    s->signals.data = s->stopped.data = s->watchdog.data = s;
    uv_poll_start(&s->signals, UV_READABLE, signalled);
    hermes_on_draining(s->hermes, broker_draining, s);
    hermes_on_stopped(s->hermes, broker_stopped, s);
    int code = CLI_OK;
    if (hermes_start(s->hermes) != HERMES_OK) {
        code = fault(hermes_error(s->hermes));
        close_all(&s->stopped);
    } else {
        tell_ready(s);
    }
    uv_run(&s->loop, UV_RUN_DEFAULT);
    hermes_wait(s->hermes);
    uv_loop_close(&s->loop);
    close(s->signal_fd);
    return code;
}

int cli_serve(int argc, char **argv)
{
    struct serving s = {0};
    signal(SIGPIPE, SIG_IGN);
    s.hermes = hermes_new();
    if (!s.hermes)
        return fault("out of memory");
    set_own_defaults(s.hermes);
    int code = from_environment(s.hermes);
    if (code == CLI_OK)
        code = from_arguments(s.hermes, argc, argv);
    if (code == CLI_OK)
        code = take_sockets(s.hermes);
    if (code == CLI_OK) {
        raise_descriptor_limit();
        settle_malloc();
        code = serve(&s);
    }
    hermes_free(s.hermes);
    return code;
}
