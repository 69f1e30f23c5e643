#include "net/conn.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/die.h"
#include "net/tls.h"

static int set(struct conn *c, struct poller *poller, int operation, int watched)
{
    struct epoll_event event = {.data.ptr = c};
    if (watched & CONN_READABLE)
        event.events |= EPOLLIN;
    if (watched & CONN_WRITABLE)
        event.events |= EPOLLOUT;
    /* Errors and hang-ups are told of whatever one watches for: so only once, not round by round.
     */
    if (!watched)
        event.events = EPOLLET;
    c->watched = (uint32_t)watched & 3;
    return epoll_ctl(poller->fd, operation, c->fd, &event);
}

bool conn_open(struct conn *c, struct poller *poller, int fd)
{
    uint32_t now = (uint32_t)(clock_ns() / 1000000000u);
    *c = (struct conn){.fd = fd, .opened = now & CONN_OPENED};
    return set(c, poller, EPOLL_CTL_ADD, CONN_READABLE) == 0;
}

/* It stays in the set even when it is watched for nothing: adding it again might find no room. */
void conn_watch(struct conn *c, struct poller *poller, bool readable, bool writable)
{
    int wanted = (readable ? CONN_READABLE : 0) | (writable ? CONN_WRITABLE : 0);
    if (wanted != (int)c->watched)
        MUST(set(c, poller, EPOLL_CTL_MOD, wanted) == 0);
}

ssize_t conn_read(struct conn *c, void *bytes, size_t len)
{
    if (c->tls)
        return tls_read(c->tls, bytes, len);
    ssize_t got;
    do
        got = recv(c->fd, bytes, len, 0);
    while (got < 0 && errno == EINTR);
    if (got >= 0)
        return got;
    return errno == EAGAIN || errno == EWOULDBLOCK ? CONN_AGAIN : CONN_BROKEN;
}

ssize_t conn_write(struct conn *c, const struct iovec *pieces, int count)
{
    if (c->tls)
        return tls_write(c->tls, pieces, count);
    ssize_t sent;
    do {
        if (count == 1) {
            sent = send(c->fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL);
        } else {
            union {
                const struct iovec *in;
                struct iovec *out;
            } row = {pieces};
            struct msghdr message = {.msg_iov = row.out, .msg_iovlen = (size_t)count};
            sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);
        }
    } while (sent < 0 && errno == EINTR);
    return sent >= 0 ? sent : conn_write_failed(errno);
}

ssize_t conn_write_failed(int code)
{
    return code == EAGAIN || code == EWOULDBLOCK || code == ENOBUFS ? CONN_AGAIN : CONN_BROKEN;
}

ssize_t conn_flush(struct conn *c)
{
    return c->tls ? tls_flush(c->tls) : 0;
}

bool conn_owes(const struct conn *c)
{
    return tls_pending(c->tls);
}

uint32_t conn_take_sent(struct conn *c, size_t bytes)
{
    return c->tls ? tls_take_sent(c->tls) : (uint32_t)bytes;
}

size_t conn_unacknowledged(struct conn *c)
{
    int bytes = 0;
    return ioctl(c->fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (size_t)bytes : 0;
}

bool conn_acknowledged(struct conn *c, uint32_t *bytes)
{
    /* Of the kernel's struct tcp_info, of which the C library knows only the first part. */
    enum { ACKNOWLEDGED = 15 };
    uint64_t info[ACKNOWLEDGED + 1];
    socklen_t len = sizeof info;
    if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, info, &len) != 0 || len < sizeof info)
        return false;
    *bytes = (uint32_t)info[ACKNOWLEDGED];
    return true;
}

void conn_finish(struct conn *c)
{
    if (c->tls)
        tls_finish(c->tls);
    else
        shutdown(c->fd, SHUT_WR);
}

void conn_close(struct conn *c, struct poller *poller, bool reset)
{
    if (c->tls)
        tls_close(c->tls, !reset);
    c->tls = NULL;
    if (reset) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    /* Closing alone leaves it in the set while a child that a program with an embedded broker has
     * forked holds the socket, too. */
    MUST(epoll_ctl(poller->fd, EPOLL_CTL_DEL, c->fd, NULL) == 0);
    close(c->fd);
    c->fd = -1;
}
