#include "cli/ask.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

static bool fails(struct ask *a, const char *why)
{
    snprintf(a->why, sizeof a->why, "%s", why);
    return false;
}

static bool fails_by_errno(struct ask *a)
{
    return fails(a, strerror(errno));
}

/* Waits for the socket; false when the time is over. */
static bool wait_for(struct ask *a, int fd, short events)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    for (;;) {
        uint64_t now = clock_ms();
        int ready = poll(&poll_fd, 1, now < a->deadline ? (int)(a->deadline - now) : 0);
        if (ready > 0)
            return true;
        if (ready == 0)
            errno = ETIMEDOUT;
        if (errno != EINTR)
            return fails_by_errno(a);
    }
}

static bool connect_within(struct ask *a, int fd, const struct addrinfo *to)
{
    socklen_t size = sizeof errno;
    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
        return true;
    if (errno != EINPROGRESS)
        return fails_by_errno(a);
    if (!wait_for(a, fd, POLLOUT))
        return false;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &errno, &size);
    return errno == 0 || fails_by_errno(a);
}

static bool send_all(struct ask *a, int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return fails_by_errno(a);
        if (sent < 0 && !wait_for(a, fd, POLLOUT))
            return false;
        bytes += sent > 0 ? sent : 0;
        len -= sent > 0 ? (size_t)sent : 0;
    }
    return true;
}

/* What comes next; negative when there is a reason to stop. */
static ssize_t receive(struct ask *a, int fd, char *bytes, size_t len)
{
    for (;;) {
        if (!wait_for(a, fd, POLLIN))
            return -1;
        ssize_t got = recv(fd, bytes, len, 0);
        if (got >= 0)
            return got;
        if (errno != EAGAIN && errno != EINTR)
            return fails_by_errno(a) ? 0 : -1;
    }
}

static bool answered(const struct ask *a)
{
    return a->len == sizeof a->answer - 1 || memchr(a->answer, '\n', a->len);
}

static bool exchange(struct ask *a, int fd, const char *request, size_t len)
{
    if (!send_all(a, fd, request, len))
        return false;
    while (!answered(a)) {
        ssize_t got = receive(a, fd, a->answer + a->len, sizeof a->answer - 1 - a->len);
        if (got < 0)
            return false;
        if (got == 0)
            break;
        a->len += (size_t)got;
    }
    return true;
}

/* ---- TLS ---- */

/* Sends what TLS has to say. */
static bool push(struct ask *a, int fd, struct tls_client *tls)
{
    struct text out = tls_client_output(tls);
    bool done = send_all(a, fd, out.at, out.len);
    tls_client_sent(tls, out.len);
    return done;
}

/* Goes on as far as the bytes go that were fed: TLS_CLIENT_AGAIN when more are needed, 0 when all
 * is done, else TLS_CLIENT_BROKEN. */
static int advance(
    struct ask *a, struct tls_client *tls, bool *shaken, const char *request, size_t len)
{
    if (!*shaken) {
        int code = tls_client_shake(tls);
        if (code != 0)
            return code;
        *shaken = true;
        if (!tls_client_write(tls, request, len))
            return TLS_CLIENT_BROKEN;
    }
    while (!answered(a)) {
        ssize_t got = tls_client_read(tls, a->answer + a->len, sizeof a->answer - 1 - a->len);
        if (got <= 0)
            return (int)got;
        a->len += (size_t)got;
    }
    return 0;
}

static bool exchange_tls(struct ask *a, int fd, const char *request, size_t len)
{
    char bytes[4096];
    bool shaken = false;
    struct tls_client *tls = tls_client_new(a->trust, a->url.host);
    if (!tls)
        return fails(a, "out of memory");
    for (;;) {
        int code = advance(a, tls, &shaken, request, len);
        bool sent = push(a, fd, tls);
        if (code == TLS_CLIENT_BROKEN)
            sent = fails(a, tls_client_problem(tls, &a->problem));
        ssize_t got = sent && code == TLS_CLIENT_AGAIN ? receive(a, fd, bytes, sizeof bytes) : 0;
        if (got < 0 && errno == ECONNRESET)
            got = 0; /* TLS knows more of why */
        else if (got < 0)
            sent = false;
        if (!sent || code != TLS_CLIENT_AGAIN) {
            tls_client_free(tls);
            return sent;
        }
        (void)tls_client_feed(tls, bytes, (size_t)got);
    }
}

bool ask_to(struct ask *a, const struct addrinfo *to)
{
    char request[600];
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fails_by_errno(a);
    int len = snprintf(request, sizeof request,
        a->url.ipv6 ? "GET %s HTTP/1.1\r\nHost: [%s]\r\nConnection: close\r\n\r\n"
                    : "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
        a->path, a->url.host);
    a->len = 0;
    a->problem = TLS_PROBLEM_NONE;
    bool done = connect_within(a, fd, to) && (a->trust ? exchange_tls : exchange)(a, fd, request,
                                                 (size_t)len < sizeof request ? (size_t)len : 0);
    a->answer[a->len] = 0;
    close(fd);
    return done;
}
