#include "net/conn.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int conn_open(struct conn *c, uv_loop_t *loop, int fd, uv_poll_cb ready)
{
    int code = uv_poll_init(loop, &c->poll, fd);
    if (code != 0)
        return code;
    c->fd = fd;
    c->watched = UV_READABLE;
    return uv_poll_start(&c->poll, UV_READABLE, ready);
}

void conn_watch(struct conn *c, bool readable, bool writable)
{
    int wanted = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
    if (wanted == c->watched)
        return;
    c->watched = wanted;
    if (wanted)
        uv_poll_start(&c->poll, wanted, c->poll.poll_cb);
    else
        uv_poll_stop(&c->poll); /* until it is resumed; a peer that went is noticed then */
}

ssize_t conn_read(struct conn *c, void *bytes, size_t len)
{
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

size_t conn_unacknowledged(struct conn *c)
{
    int bytes = 0;
    return ioctl(c->fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (size_t)bytes : 0;
}

void conn_finish(struct conn *c)
{
    shutdown(c->fd, SHUT_WR);
}

void conn_close(struct conn *c, bool reset, uv_close_cb closed)
{
    if (reset) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    uv_close((uv_handle_t *)&c->poll, closed);
    close(c->fd);
    c->fd = -1;
}
