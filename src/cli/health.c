#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/args.h"
#include "cli/ask.h"
#include "cli/cli.h"

struct health {
    struct ask ask;
    struct cli_tls tls;
    char url[400];
    bool ready;
    bool quiet;
    uint64_t seconds;
};

/* One line, some of which may be what a server said. */
static int tell(const struct health *h, int code, char *what)
{
    what[strcspn(what, "\r\n")] = 0;
    for (char *at = what; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    if (!h->quiet)
        fprintf(stderr, "hermes health: %s port %u: %s\n", h->ask.url.host, h->ask.url.port,
            *what ? what : "no answer");
    return code;
}

/* Who asks for a certificate has its certificates, and a worker that shakes hands: it is alive.
 * Whether it takes clients it says to those that have one. */
static int closed_door(struct health *h)
{
    char line[300];
    snprintf(line, sizeof line, "%s%s", h->ask.why,
        h->tls.certificate ? ""
        : h->ready         ? "; give one: --cert FILE --key FILE"
                           : "; it is alive, more it tells only with one: --cert FILE --key FILE");
    return tell(h, h->ready || h->tls.certificate ? CLI_FAILED : CLI_OK, line);
}

static int check(struct health *h)
{
    struct ask *a = &h->ask;
    char port[6];
    struct addrinfo *found = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    snprintf(port, sizeof port, "%u", a->url.port);
    int code = getaddrinfo(a->url.host, port, &hints, &found);
    bool asked = false;
    if (code != 0)
        snprintf(a->why, sizeof a->why, "%s", gai_strerror(code));
    for (const struct addrinfo *to = found; to && !asked; to = to->ai_next)
        asked = ask_to(a, to);
    if (found)
        freeaddrinfo(found);
    if (asked && strncmp(a->answer, "HTTP/1.", 7) == 0 && strncmp(a->answer + 8, " 200", 4) == 0)
        return CLI_OK;
    if (a->problem == TLS_PROBLEM_OWN)
        return closed_door(h);
    return tell(h, CLI_FAILED, asked ? a->answer : a->why);
}

/* Where the server with this environment listens. */
static void url_default(char *out, size_t size)
{
    const char *host = getenv("WS_HOST");
    const char *port = getenv("WS_PORT");
    if (!host || !*host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 ||
        strcmp(host, "*") == 0)
        host = "127.0.0.1";
    snprintf(out, size, strchr(host, ':') ? "%s://[%s]:%s" : "%s://%s:%s",
        cli_tls_on_port() ? "https" : "http", host, port && *port ? port : "443");
}

/* Unless it is said whom to believe, any server is: there is nothing secret in the question, and
 * the name of the machine itself is in no certificate. */
static int trust_load(struct health *h)
{
    struct tls_report report;
    const struct cli_tls *tls = &h->tls;
    if (strcmp(h->ask.url.scheme, "https") != 0)
        return CLI_OK;
    h->ask.trust = tls_trust_load(
        &(struct tls_client_paths){tls->ca, tls->certificate, tls->key, tls->insecure || !tls->ca},
        &report);
    if (h->ask.trust)
        return CLI_OK;
    fprintf(stderr, "hermes health: %s\n", report.error);
    return CLI_FAILED;
}

/* Once all options are known. */
static int run(struct health *h, const struct args *a)
{
    struct ask *ask = &h->ask;
    const char *ca = h->tls.ca;
    if (a->word_count > 0)
        return args_fault(a->command, "what is '%s'?", a->words[0]);
    if (!hermes_url_parse(&ask->url, h->url) || strncmp(ask->url.scheme, "http", 4) != 0)
        return args_fault(a->command,
            "the URL is not of the form http://host[:port] or https://...: '%s'", h->url);
    ask->path = strlen(ask->url.target) > 1 ? ask->url.target : h->ready ? "/readyz" : "/healthz";
    cli_tls_default(&h->tls);
    h->tls.ca = ca;
    if (h->tls.key && !h->tls.certificate)
        return args_fault(a->command, "--key goes with --cert: whose key is it?");
    int code = trust_load(h);
    if (code != CLI_OK)
        return code;
    ask->deadline = clock_ms() + h->seconds * 1000;
    code = check(h);
    tls_trust_drop(ask->trust);
    return code;
}

int cli_health(int argc, char **argv)
{
    static const struct option options[] = {
        {"url", required_argument, NULL, 'u'},
        {"ready", no_argument, NULL, 'r'},
        {"timeout", required_argument, NULL, 't'},
        {"quiet", no_argument, NULL, 'q'},
        ARGS_TLS_OPTIONS,
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct health h = {.seconds = 5};
    struct args a;
    int code = CLI_OK;
    url_default(h.url, sizeof h.url);
    args_init(&a, options, "", argc, argv);
    for (int option; (option = args_next(&a)) != ARGS_END && code == CLI_OK;) {
        switch (option) {
        case 'u':
            snprintf(h.url, sizeof h.url, "%s", optarg);
            break;
        case 'r':
            h.ready = true;
            break;
        case 't':
            code = args_number(&a, "--timeout", 1, 3600, &h.seconds);
            break;
        case 'q':
            h.quiet = true;
            break;
        default:
            if (args_tls(&h.tls, option))
                break;
            args_fini(&a);
            return option == ARGS_HELP ? CLI_OK : CLI_USAGE;
        }
    }
    if (code == CLI_OK)
        code = run(&h, &a);
    args_fini(&a);
    return code;
}
