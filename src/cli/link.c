#include "cli/link.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "auth/load.h"
#include "auth/verifier.h"
#include "base/die.h"
#include "cli/cli.h"
#include "hermes/protocol.h"

/* TOKEN_RENEWED: what an answer to a new token is known by; commands count from 1. */
#define TOKEN_RENEWED UINT64_MAX

static void say(const struct link *l, const char *format, va_list args)
{
    char line[1024];
    int head = snprintf(line, sizeof line, "hermes %s: ", l->name);
    vsnprintf(line + head, sizeof line - (size_t)head, format, args);
    /* Some of it may be what a server said. */
    for (char *at = line; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    fprintf(stderr, "%s\n", line);
}

void link_notice(const struct link *l, const char *format, ...)
{
    va_list args;
    if (l->options.quiet)
        return;
    va_start(args, format);
    say(l, format, args);
    va_end(args);
}

void link_error(const struct link *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(l, format, args);
    va_end(args);
}

/* ---- the token ---- */

/* Tells what is wrong with the file. Nobody but its reader may know more of it than that. */
static bool token_read(const struct link *l, struct secret *out)
{
    char error[512];
    struct auth_source source = {l->options.token_file, error, sizeof error};
    if (auth_read(&source, AUTH_TOKEN_MAX, out) != AUTH_LOADED) {
        link_error(l, "%s", error);
        return false;
    }
    while (out->len > 0 && out->at[out->len - 1] <= ' ')
        out->at[--out->len] = '\0';
    return true;
}

/* The server says that it expires: the file may have another by now. */
static void token_renew(struct link *l)
{
    struct secret token;
    if (!l->options.token_file || !token_read(l, &token))
        return;
    int code = hermes_client_auth(l->client, (const char *)token.at, token.len, TOKEN_RENEWED);
    secret_fini(&token);
    if (code != HERMES_CLIENT_OK)
        link_error(l, "%s: %s", l->options.token_file, hermes_client_error(code));
}

/* Whether an answer is about the token, and not for the command. */
static bool token_heard(struct link *l, const struct hermes_answer *a)
{
    static const char warning[] = HERMES_TEXT_TOKEN_EXPIRES_START;
    if (a->token == TOKEN_RENEWED) {
        if (a->kind == HERMES_ANSWER_ERROR)
            link_error(l, "the new token: %.*s", (int)a->message_len, a->message);
        return true;
    }
    if (a->kind != HERMES_ANSWER_ERROR || a->message_len < sizeof warning - 1 ||
        memcmp(a->message, warning, sizeof warning - 1) != 0)
        return false;
    link_notice(l, "%.*s", (int)a->message_len, a->message);
    token_renew(l);
    return true;
}

/* ---- the connection ---- */

static void timer_met(uv_timer_t *timer)
{
    struct link *l = timer->data;
    link_error(l, "gave up after %" PRIu64 " s%s%s", l->options.timeout_ms / 1000,
        *l->last ? ": " : "", l->last);
    if (l->command->gave_up)
        l->command->gave_up(l);
    link_quit(l, CLI_FAILED);
}

static void timer_set(struct link *l)
{
    if (l->options.timeout_ms && !uv_is_active((uv_handle_t *)&l->timer))
        uv_timer_start(&l->timer, timer_met, l->options.timeout_ms, 0);
}

static void on_open(struct hermes_client *c, void *user)
{
    struct link *l = user;
    (void)c;
    if (!l->options.timeout_for_all)
        uv_timer_stop(&l->timer);
    if (l->lost)
        link_notice(l, "connected again");
    *l->last = 0;
    l->command->opened(l);
}

/* Says behind what is wrong what one could do. */
static void tls_advise(struct link *l, enum hermes_tls_problem problem)
{
    const char *advice = "";
    if (problem == HERMES_TLS_TRUST)
        advice = "; give its authority: --ca FILE";
    else if (problem == HERMES_TLS_OWN && !l->options.tls.certificate)
        advice = "; give one: --cert FILE --key FILE";
    size_t len = strlen(l->last);
    snprintf(l->last + len, sizeof l->last - len, "%s", advice);
}

static void on_close(struct hermes_client *c, const struct hermes_close *why, void *user)
{
    struct link *l = user;
    (void)c;
    int head = 0;
    if (why->code != HERMES_CLOSE_LOST)
        head = snprintf(l->last, sizeof l->last, "the server closed the connection, code %d%s",
            why->code, why->reason_len ? ": " : "");
    snprintf(l->last + head, sizeof l->last - (size_t)head, "%.*s", (int)why->reason_len,
        why->reason ? why->reason : "");
    tls_advise(l, why->tls);
    l->lost |= why->opened;
    if (why->will_retry) {
        link_notice(l, "%s; trying again in %u.%u s", l->last, why->retry_ms / 1000,
            why->retry_ms / 100 % 10);
        timer_set(l);
    }
    if ((l->command->closed && l->command->closed(l, why)) || why->will_retry)
        return;
    if (!l->finishing)
        link_error(l, "%s", l->last);
    link_quit(l, l->finishing ? l->code : CLI_FAILED);
}

static void on_data(struct hermes_client *c, const char *data, size_t len, void *user)
{
    struct link *l = user;
    (void)c;
    if (l->command->data)
        l->command->data(l, data, len);
}

static void on_answer(struct hermes_client *c, struct hermes_answer *answer, void *user)
{
    struct link *l = user;
    (void)c;
    if (!token_heard(l, answer) && l->command->answer)
        l->command->answer(l, answer);
}

static void on_delivery(struct hermes_client *c, const struct hermes_delivery *d, void *user)
{
    struct link *l = user;
    (void)c;
    if (l->command->delivery)
        l->command->delivery(l, d);
    else if (l->command->data)
        l->command->data(l, d->data, d->data_len);
}

static void on_gap(struct hermes_client *c, const struct hermes_gap *gap, void *user)
{
    struct link *l = user;
    (void)c;
    if (l->command->gap)
        l->command->gap(l, gap);
}

static void on_member(struct hermes_client *c, const struct hermes_member *member, void *user)
{
    struct link *l = user;
    (void)c;
    if (l->command->member)
        l->command->member(l, member);
}

static void on_published(struct hermes_client *c, const struct hermes_published *p, void *user)
{
    struct link *l = user;
    (void)c;
    if (l->command->published)
        l->command->published(l, p);
}

static void on_confirm(struct hermes_client *c, uint64_t token, void *user)
{
    struct link *l = user;
    (void)c;
    if (l->command->confirmed)
        l->command->confirmed(l, token);
}

static void on_drain(struct hermes_client *c, void *user)
{
    struct link *l = user;
    (void)c;
    if (l->command->drained)
        l->command->drained(l);
}

static const struct hermes_client_events events = {
    .on_open = on_open,
    .on_data = on_data,
    .on_answer = on_answer,
    .on_confirm = on_confirm,
    .on_drain = on_drain,
    .on_close = on_close,
    .on_delivery = on_delivery,
    .on_gap = on_gap,
    .on_member = on_member,
    .on_published = on_published,
};

/* ---- signals ---- */

static void signalled(struct watch *w)
{
    struct link *l = (struct link *)((char *)w - offsetof(struct link, signals));
    struct signalfd_siginfo info;
    if (read(l->signal_fd, &info, sizeof info) != sizeof info)
        return;
    if (l->finishing)
        link_quit(l, 128 + (int)info.ssi_signo); /* the second one: enough waited */
    else if (l->command->interrupted)
        l->command->interrupted(l);
    else
        link_finish(l, CLI_OK);
}

static void signals_open(struct link *l)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    l->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    MUST(l->signal_fd >= 0);
    MUST(watch_open(&l->signals, &l->loop, l->signal_fd, EPOLLIN, signalled) == 0);
}

/* ---- the life of it ---- */

static void url_find(struct link *l)
{
    const char *url = l->options.url ? l->options.url : getenv("HERMES_URL");
    const char *port = getenv("WS_PORT");
    if (url && *url)
        snprintf(l->url, sizeof l->url, "%s", url);
    else
        snprintf(l->url, sizeof l->url, "%s://localhost:%.20s", cli_tls_on_port() ? "wss" : "ws",
            port && *port && strcmp(port, "0") != 0 ? port : "443");
}

int link_init(struct link *l, const char *name, const struct link_command *command,
    const struct link_options *options)
{
    *l = (struct link){.name = name, .command = command, .options = *options};
    url_find(l);
    MUST(uv_loop_init(&l->loop) == 0);
    MUST(uv_timer_init(&l->loop, &l->timer) == 0);
    l->timer.data = l;
    signals_open(l);
    l->group = hermes_client_group_new(&l->loop, NULL);
    MUST(l->group);
    struct secret file = {0};
    char *environment = getenv("HERMES_TOKEN");
    char *token = options->token ? options->token : environment;
    if (!options->token && options->token_file) {
        if (!token_read(l, &file))
            return link_abandon(l, CLI_FAILED);
        token = (char *)file.at;
    }
    struct cli_tls *tls = &l->options.tls;
    cli_tls_default(tls);
    int code = hermes_client_new(&l->client, l->group,
        &(struct hermes_client_options){.url = l->url,
            .token = token && *token ? token : NULL,
            .events = &events,
            .user = l,
            .close_ms = options->close_ms,
            .max_queued_bytes = options->max_queued,
            .level = options->level,
            .tls_ca = tls->ca,
            .tls_certificate = tls->certificate,
            .tls_key = tls->key,
            .tls_insecure = tls->insecure});
    /* Others may look at a process's arguments. */
    if (options->token)
        explicit_bzero(options->token, strlen(options->token));
    if (environment)
        explicit_bzero(environment, strlen(environment));
    secret_fini(&file);
    if (code == HERMES_CLIENT_OK)
        return CLI_OK;
    if (code == HERMES_CLIENT_BAD_TLS) {
        link_error(l, "%s", hermes_client_group_problem(l->group));
        return link_abandon(l, CLI_FAILED);
    }
    if (code == HERMES_CLIENT_BAD_OPTION && tls->key && !tls->certificate)
        link_error(l, "--key goes with --cert: whose key is it?");
    else
        link_error(l, "%s: '%s'", hermes_client_error(code), l->url);
    return link_abandon(l, CLI_USAGE);
}

int link_run(struct link *l)
{
    int code = hermes_client_open(l->client);
    if (code != HERMES_CLIENT_OK) {
        link_error(l, "%s", hermes_client_error(code));
        return link_abandon(l, CLI_FAILED);
    }
    timer_set(l);
    uv_run(&l->loop, UV_RUN_DEFAULT);
    return link_abandon(l, l->code);
}

void link_finish(struct link *l, int code)
{
    if (l->finishing)
        return;
    l->finishing = true;
    l->code = code;
    hermes_client_close(l->client, HERMES_CLOSE_NORMAL, NULL);
}

void link_refused(struct link *l, const struct hermes_answer *error)
{
    link_error(l, "the server says: %.*s", (int)error->message_len, error->message);
    link_finish(l, CLI_FAILED);
}

void link_quit(struct link *l, int code)
{
    if (!l->over || l->code == CLI_OK)
        l->code = code;
    l->over = true;
    uv_stop(&l->loop);
}

int link_abandon(struct link *l, int code)
{
    l->over = true;
    l->code = code;
    if (l->command->release)
        l->command->release(l);
    hermes_client_free(l->client);
    hermes_client_group_free(l->group);
    uv_close((uv_handle_t *)&l->timer, NULL);
    watch_close(&l->signals);
    for (int turns = 0; turns < 8 && uv_run(&l->loop, UV_RUN_NOWAIT); turns++)
        ;
    close(l->signal_fd);
    if (uv_loop_close(&l->loop) == 0)
        return l->code;
    /* A name is still being looked up, which takes its time and is no longer of interest. */
    fflush(NULL);
    _exit(l->code);
}
