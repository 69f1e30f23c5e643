#include "net/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void explain(int code, const struct listen_at *at, int port, char *error, size_t size)
{
    const char *name = *at->host ? at->host : "all addresses";
    switch (code) {
    case EACCES:
    case EPERM:
        snprintf(error, size,
            "port %d may not be bound by this user: choose another (%s=8080), or allow it"
            " (setcap cap_net_bind_service=+ep, or sysctl net.ipv4.ip_unprivileged_port_start)",
            port, at->port_setting);
        break;
    case EADDRINUSE:
        snprintf(error, size,
            "port %d on %s is in use: stop the program that has it, or choose another (%s)", port,
            name, at->port_setting);
        break;
    case EADDRNOTAVAIL:
        snprintf(error, size, "%s is no address of this machine: correct %s, or leave it out", name,
            at->host_setting);
        break;
    default:
        snprintf(error, size, "cannot listen on port %d of %s: %s", port, name, strerror(code));
    }
}

/* One listening socket; -1 with errno. Accepted sockets inherit TCP_NODELAY from it, which spares a
 * system call a connection. */
static int listen_one(const struct sockaddr *address, socklen_t len, int dual, int backlog)
{
    int yes = 1;
    int no = 0;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) == 0 &&
        (address->sa_family != AF_INET6 ||
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, dual ? &no : &yes, sizeof yes) == 0) &&
        bind(fd, address, len) == 0 && listen(fd, backlog) == 0)
        return fd;
    int code = errno;
    close(fd);
    errno = code;
    return -1;
}

static int port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } bound = {.v6 = {0}};
    socklen_t len = sizeof bound;
    getsockname(fd, &bound.any, &len);
    return ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
}

static int listen_everywhere(
    const struct listen_at *at, int *port, int *fd, char *error, size_t size)
{
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons((in_port_t)*port), .sin6_addr = in6addr_any};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((in_port_t)*port)};
    *fd = listen_one((struct sockaddr *)&v6, sizeof v6, 1, at->backlog);
    if (*fd < 0 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
        *fd = listen_one((struct sockaddr *)&v4, sizeof v4, 0, at->backlog);
    if (*fd < 0) {
        explain(errno, at, *port, error, size);
        return -1;
    }
    *port = port_of(*fd);
    return 1;
}

bool listen_is_good(int fd)
{
    int listens = 0;
    int protocol = 0;
    socklen_t len = sizeof listens;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens &&
           getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 && protocol == IPPROTO_TCP;
}

/* They are made what ours are, see listen_one. */
static int take_given(
    const struct listen_given *given, int *port, int *fds, int most, char *error, size_t size)
{
    int yes = 1;
    int count = given->count < most ? given->count : most;
    for (int i = 0; i < count; i++) {
        fds[i] = fcntl(given->fds[i], F_DUPFD_CLOEXEC, 0);
        if (fds[i] < 0) {
            snprintf(
                error, size, "cannot take over descriptor %d: %s", given->fds[i], strerror(errno));
            while (i > 0)
                close(fds[--i]);
            return -1;
        }
        fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    }
    *port = port_of(fds[0]);
    return count;
}

int listen_open(
    const struct listen_at *at, int *port, int *fds, int most, char *error, size_t error_size)
{
    if (at->given && at->given->count > 0)
        return take_given(at->given, port, fds, most, error, error_size);
    if (*at->host == '\0')
        return listen_everywhere(at, port, fds, error, error_size);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found;
    int code = getaddrinfo(at->host, NULL, &hints, &found);
    if (code != 0) {
        snprintf(error, error_size, "%s=%s cannot be resolved: %s", at->host_setting, at->host,
            gai_strerror(code));
        return -1;
    }
    int count = 0;
    for (struct addrinfo *each = found; each && count < most; each = each->ai_next) {
        in_port_t wanted = htons((in_port_t)*port);
        if (each->ai_family == AF_INET)
            ((struct sockaddr_in *)(void *)each->ai_addr)->sin_port = wanted;
        else if (each->ai_family == AF_INET6)
            ((struct sockaddr_in6 *)(void *)each->ai_addr)->sin6_port = wanted;
        else
            continue;
        fds[count] = listen_one(each->ai_addr, each->ai_addrlen, 0, at->backlog);
        if (fds[count] < 0) {
            explain(errno, at, *port, error, error_size);
            while (count > 0)
                close(fds[--count]);
            count = -1;
            break;
        }
        *port = port_of(fds[count++]);
    }
    freeaddrinfo(found);
    if (count == 0)
        snprintf(
            error, error_size, "%s=%s has no IPv4 or IPv6 address", at->host_setting, at->host);
    return count > 0 ? count : -1;
}
