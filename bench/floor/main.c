/* The floor: the least that any broker built on sockets has to do, and no more.
 *
 * One thread, one epoll. What it does:
 *  - accepts, and answers a handshake with the upgrade (SHA-1 by mbedTLS, as Hermes) and a greeting
 *    by one send. Heads are not checked;
 *  - subscribes, unsubscribes, and acknowledges with the texts of level 1. Topics lie in a plain
 *    hash table and know their subscribers;
 *  - of a publish, the bytes between "data": and the last brace are unmasked straight into the
 * batch behind a frame header: once per publish, never per subscriber;
 *  - a batch is all that was published by the bytes read in one epoll round (a socket is read until
 *    a read comes back short). At the end of the round each subscriber that has something in it
 * gets it by one send, in the order of the batch, whatever the number of its topics;
 *  - what a socket does not take is kept, and EPOLLOUT continues from it, so that nothing is lost;
 *  - answers pings and close frames;
 *  - with a certificate and its key, all that within TLS, by mbedTLS: tls.c.
 *
 * What it does not: read JSON (a command has to be written exactly as the generators and the client
 * library write it), check masks, UTF-8 or limits, join fragments, take frames over 256 KiB, remove
 * topics, queue, count, time out, log, or bound the memory that a stalled subscriber pins.
 *
 * Called as "floor" or "floor CERTIFICATE KEY", PEM files.
 * Prints "port=N" on stderr once it listens on 127.0.0.1, on a port that the system gave. */
#define _GNU_SOURCE
#include "floor.h"

#include <sys/epoll.h>

enum { EVENTS = 1024 };

static void floor_accept(struct floor *f)
{
    int fd, on = 1;
    while ((fd = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        f->peers[fd] = (struct peer){.fd = fd};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, fd, &e))
            load_die("epoll_ctl: %s", strerror(errno));
        if (f->tls)
            peer_secure(f, &f->peers[fd]);
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        load_die("accept: %s", strerror(errno));
}

static void peer_drop(struct peer *p)
{
    floor_forget(p);
    p->first_span = 0;
    if (p->tls)
        peer_unsecure(p);
    close(p->fd);
    free(p->rest.bytes);
    free(p->out);
}

/* As peer_unseal. */
static ssize_t peer_receive(
    struct floor *f, struct peer *p, unsigned char *to, size_t len, bool *more)
{
    if (p->tls)
        return peer_unseal(f, p, to, len, more);
    ssize_t got = recv(p->fd, to, len, 0);
    *more = (size_t)got == len;
    if (got < 0 && errno == EAGAIN)
        return 0;
    return got > 0 ? got : -1;
}

/* False when the peer is gone. */
static bool peer_read(struct floor *f, struct peer *p)
{
    for (;;) {
        size_t have = p->rest.have, used = 0;
        ptrdiff_t n;
        if (have)
            memcpy(f->in, p->rest.bytes, have);
        bool more = false;
        ssize_t got = peer_receive(f, p, f->in + have, READ_BYTES - have, &more);
        if (got < 0)
            return false;
        if (got == 0)
            return true;
        have += (size_t)got;
        if (!p->upgraded) {
            const unsigned char *end = memmem(f->in, have, "\r\n\r\n", 4);
            if (end) {
                used = (size_t)(end + 4 - f->in);
                if (!peer_greet(f, p, (const char *)f->in, used))
                    return false;
            }
        }
        while (p->upgraded && (n = peer_frame(f, p, f->in + used, have - used))) {
            if (n < 0)
                return false;
            used += (size_t)n;
        }
        load_keep(&p->rest, f->in + used, have - used);
        if (!more)
            return true;
    }
}

static void floor_round(struct floor *f)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(f->epoll, events, EVENTS, -1);
    for (int i = 0; i < n; i++) {
        if (events[i].data.fd == f->listener) {
            floor_accept(f);
            continue;
        }
        struct peer *p = &f->peers[events[i].data.fd];
        if (events[i].events & EPOLLOUT)
            peer_write(f, p);
        if (events[i].events & ~(uint32_t)EPOLLOUT && !peer_read(f, p))
            peer_drop(p);
    }
    floor_flush(f);
}

int main(int argc, char **argv)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    size_t limit = load_want_descriptors(64);
    struct floor f = {
        .epoll = epoll_create1(EPOLL_CLOEXEC),
        .listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
        .peers = calloc(limit, sizeof(struct peer)),
        .bucket_count = 1024,
        .buckets = calloc(1024, sizeof(struct topic *)),
        .span_count = 1,
        .batch = malloc(READ_BYTES),
        .batch_cap = READ_BYTES,
        .in = malloc(READ_BYTES),
    };
    struct epoll_event e = {.events = EPOLLIN, .data.fd = f.listener};

    if (argc != 1 && argc != 3)
        load_die("usage: floor [CERTIFICATE KEY]");
    if (argc == 3)
        f.tls = floor_tls_new(argv[1], argv[2]);
    if (!f.peers || !f.buckets || !f.batch || !f.in)
        load_die("no memory");
    f.spans = floor_grow(NULL, &f.span_cap, sizeof *f.spans);
    if (f.epoll < 0 || f.listener < 0 || bind(f.listener, (struct sockaddr *)&at, sizeof at) != 0 ||
        listen(f.listener, 4096) != 0 ||
        getsockname(f.listener, (struct sockaddr *)&at, &len) != 0 ||
        epoll_ctl(f.epoll, EPOLL_CTL_ADD, f.listener, &e) != 0)
        load_die("cannot listen: %s", strerror(errno));
    fprintf(stderr, "floor listening port=%u\n", ntohs(at.sin_port));
    for (;;)
        floor_round(&f);
}
