#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "hermes/client.h"

struct health {
    struct hermes_url url;
    const char *path;
    uint64_t deadline; /* by clock_ms */
    char answer[512];
    size_t len;
};

/* Waits for the socket; false, and errno, when the time is over. */
static bool wait_for(int fd, short events, uint64_t deadline)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    for (;;) {
        uint64_t now = clock_ms();
        int ready = poll(&poll_fd, 1, now < deadline ? (int)(deadline - now) : 0);
        if (ready > 0)
            return true;
        if (ready == 0)
            errno = ETIMEDOUT;
        if (errno != EINTR)
            return false;
    }
}

static bool connect_within(int fd, const struct addrinfo *to, uint64_t deadline)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
        return true;
    if (errno != EINPROGRESS || !wait_for(fd, POLLOUT, deadline))
        return false;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    errno = error;
    return error == 0;
}

/* One request on one address; the beginning of the answer is in h->answer then. */
static bool ask(struct health *h, const struct addrinfo *to)
{
    char request[600];
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool done = connect_within(fd, to, h->deadline);
    if (done) {
        int len = snprintf(request, sizeof request,
            h->url.ipv6 ? "GET %s HTTP/1.1\r\nHost: [%s]\r\nConnection: close\r\n\r\n"
                        : "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
            h->path, h->url.host);
        done = send(fd, request, (size_t)len, MSG_NOSIGNAL) == len;
    }
    for (h->len = 0; done && h->len < sizeof h->answer - 1 && !memchr(h->answer, '\n', h->len);) {
        done = wait_for(fd, POLLIN, h->deadline);
        ssize_t got = done ? recv(fd, h->answer + h->len, sizeof h->answer - 1 - h->len, 0) : 0;
        if (got < 0 && errno != EAGAIN)
            done = false;
        if (got == 0)
            break;
        h->len += got > 0 ? (size_t)got : 0;
    }
    h->answer[h->len] = 0;
    int error = errno;
    close(fd);
    errno = error;
    return done;
}

/* 0 or an exit code, with one line that says why. */
static int check(struct health *h, const char *command, bool quiet)
{
    char port[6];
    const char *why;
    struct addrinfo *found = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    snprintf(port, sizeof port, "%u", h->url.port);
    int code = getaddrinfo(h->url.host, port, &hints, &found);
    bool asked = false;
    for (const struct addrinfo *to = found; to && !asked; to = to->ai_next)
        asked = ask(h, to);
    why = code != 0 ? gai_strerror(code) : strerror(errno);
    if (found)
        freeaddrinfo(found);
    if (asked && strncmp(h->answer, "HTTP/1.", 7) == 0 && strncmp(h->answer + 8, " 200", 4) == 0)
        return CLI_OK;
    if (quiet)
        return CLI_FAILED;
    h->answer[strcspn(h->answer, "\r\n")] = 0;
    for (char *at = h->answer; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    fprintf(stderr, "hermes %s: %s port %s: %s\n", command, h->url.host, port,
        !asked       ? why
        : *h->answer ? h->answer
                     : "no answer");
    return CLI_FAILED;
}

/* Where the server with this environment listens. */
static void url_default(char *out, size_t size)
{
    const char *host = getenv("WS_HOST");
    const char *port = getenv("WS_PORT");
    if (!host || !*host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 ||
        strcmp(host, "*") == 0)
        host = "127.0.0.1";
    snprintf(out, size, strchr(host, ':') ? "http://[%s]:%s" : "http://%s:%s", host,
        port && *port ? port : "443");
}

int cli_health(int argc, char **argv)
{
    static const struct option options[] = {
        {"url", required_argument, NULL, 'u'},
        {"ready", no_argument, NULL, 'r'},
        {"timeout", required_argument, NULL, 't'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct health h = {.path = "/healthz"};
    char url[400];
    bool quiet = false;
    uint64_t seconds = 5;
    struct args a;
    int code = CLI_OK;
    url_default(url, sizeof url);
    args_init(&a, options, "", argc, argv);
    for (int option; (option = args_next(&a)) != ARGS_END && code == CLI_OK;) {
        switch (option) {
        case 'u':
            snprintf(url, sizeof url, "%s", optarg);
            break;
        case 'r':
            h.path = "/readyz";
            break;
        case 't':
            code = args_number(&a, "--timeout", 1, 3600, &seconds);
            break;
        case 'q':
            quiet = true;
            break;
        default:
            args_fini(&a);
            return option == ARGS_HELP ? CLI_OK : CLI_USAGE;
        }
    }
    if (code == CLI_OK && a.word_count > 0)
        code = args_fault(a.command, "what is '%s'?", a.words[0]);
    if (code == CLI_OK && (!hermes_url_parse(&h.url, url) || strcmp(h.url.scheme, "http") != 0))
        code = args_fault(a.command, "the URL is not of the form http://host[:port]: '%s'", url);
    if (code == CLI_OK && strlen(h.url.target) > 1)
        h.path = h.url.target;
    args_fini(&a);
    if (code != CLI_OK)
        return code;
    h.deadline = clock_ms() + seconds * 1000;
    return check(&h, "health", quiet);
}
