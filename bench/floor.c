/* The floor: the least that any broker built on sockets has to do for a fan-out, and no more.
 *
 * One thread, one epoll. What it does:
 *  - accepts, and answers a handshake with the upgrade (it knows only the answer to the one key
 *    that the generators of this folder send, so it needs no SHA-1) and an info frame;
 *  - a text frame that begins {"type":"subscribe" makes the connection a subscriber of the one and
 *    only topic, and is acknowledged;
 *  - any other text frame is a publish. Of it, the bytes between "data": and the last brace are
 *    unmasked straight into the batch behind a ready-made frame header: once per publish, never
 *    per subscriber;
 *  - a batch is all that was published by the bytes read in one epoll round (a socket is read until
 *    a read comes back short). At the end of the round each subscriber gets the batch by one send;
 *  - when a send is short, the position is kept, and EPOLLOUT continues from it, so that nothing is
 *    lost. The batch's bytes stay until the last subscriber has them.
 *
 * What it does not: look at topics or read JSON, check masks, UTF-8 or limits, queue per
 * subscriber, count, time out, ping, log, or bound the memory that a stalled subscriber pins.
 *
 * Prints "port=N" on stderr once it listens on 127.0.0.1, on a port that the system gave. */
#define _GNU_SOURCE
#include "load.h"

#include <sys/epoll.h>

enum { READ_BYTES = 1 << 18, EVENTS = 1024, BATCH_LIMIT = 1 << 30 };

struct peer {
    int fd;
    int subscriber; /* its place in the list, or -1 */
    bool upgraded, waits_to_write;
    size_t sent; /* how much of the batch it has */
    struct load_conn rest;
};

struct floor {
    int epoll, listener;
    struct peer *peers; /* by descriptor; as many as there can be */
    int *subscribers;   /* their descriptors; room for as many */
    int subscriber_count;
    int behind; /* subscribers that wait to write */
    unsigned char *batch;
    size_t batch_len, batch_cap, batch_flushed;
    unsigned char *in;
};

static void peer_watch(struct floor *f, struct peer *p, int op, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.fd = p->fd};
    if (epoll_ctl(f->epoll, op, p->fd, &e))
        load_die("epoll_ctl: %s", strerror(errno));
}

static void floor_accept(struct floor *f)
{
    int fd, on = 1;
    while ((fd = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct peer *p = &f->peers[fd];
        *p = (struct peer){.fd = fd, .subscriber = -1};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        peer_watch(f, p, EPOLL_CTL_ADD, EPOLLIN);
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        load_die("accept: %s", strerror(errno));
}

static void peer_drop(struct floor *f, struct peer *p)
{
    if (p->subscriber >= 0) {
        int last = f->subscribers[--f->subscriber_count];
        f->subscribers[p->subscriber] = last;
        f->peers[last].subscriber = p->subscriber;
    }
    f->behind -= p->waits_to_write;
    close(p->fd);
    free(p->rest.bytes);
}

static void peer_greet(struct peer *p)
{
    static const char info[] = "{\"type\":\"info\",\"message\":\"Connected to the floor.\"}";
    static const char head[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Accept: " LOAD_ACCEPT "\r\n\r\n";
    char out[sizeof head + sizeof info + 2];
    int len = snprintf(out, sizeof out, "%s\x81%c%s", head, (int)(sizeof info - 1), info);
    load_send_all(p->fd, out, (size_t)len);
    p->upgraded = true;
}

/* Acknowledges in front of the deliveries: the subscriber begins with what the batch gets next. */
static void peer_subscribe(struct floor *f, struct peer *p)
{
    static const char ack[] = "{\"type\":\"ack_subscribe\"}";
    char out[sizeof ack + 2];
    int len = snprintf(out, sizeof out, "\x81%c%s", (int)(sizeof ack - 1), ack);
    load_send_all(p->fd, out, (size_t)len);
    if (p->subscriber >= 0)
        return;
    p->subscriber = f->subscriber_count++;
    p->sent = f->batch_len;
    f->subscribers[p->subscriber] = p->fd;
}

static void floor_publish(struct floor *f, const unsigned char *data, size_t len, size_t phase,
    const unsigned char mask[4])
{
    if (f->batch_len + len + 10 > f->batch_cap) {
        f->batch_cap = (f->batch_len + len + 10) * 2;
        if (f->batch_cap > BATCH_LIMIT || !(f->batch = realloc(f->batch, f->batch_cap)))
            load_die("a subscriber does not read: more than %d bytes wait", BATCH_LIMIT);
    }
    unsigned char *to = f->batch + f->batch_len;
    *to++ = 0x81;
    if (len < 126) {
        *to++ = (unsigned char)len;
    } else if (len < 65536) {
        *to++ = 126;
        *to++ = (unsigned char)(len >> 8);
        *to++ = (unsigned char)len;
    } else {
        *to++ = 127;
        for (int i = 56; i >= 0; i -= 8)
            *to++ = (unsigned char)((uint64_t)len >> i);
    }
    unsigned char turned[8];
    for (size_t i = 0; i < 8; i++)
        turned[i] = mask[(phase + i) & 3];
    size_t i = 0;
    for (uint64_t m, word; i + 8 <= len; i += 8) {
        memcpy(&m, turned, 8);
        memcpy(&word, data + i, 8);
        word ^= m;
        memcpy(to + i, &word, 8);
    }
    for (; i < len; i++)
        to[i] = data[i] ^ turned[i & 7];
    f->batch_len = (size_t)(to + len - f->batch);
}

/* One masked frame of a client; returns its size, or 0 when it is not whole yet. */
static size_t peer_frame(struct floor *f, struct peer *p, const unsigned char *b, size_t have)
{
    static const char subscribe[] = "{\"type\":\"subscribe\"";
    size_t head = 6, len;
    if (have < 2)
        return 0;
    len = b[1] & 0x7f;
    if (len == 126) {
        if (have < 4)
            return 0;
        len = (size_t)b[2] << 8 | b[3];
        head = 8;
    } else if (len == 127) {
        if (have < 10)
            return 0;
        len = 0;
        for (int i = 2; i < 10; i++)
            len = len << 8 | b[i];
        head = 14;
    }
    if (have < head || have - head < len)
        return 0;
    const unsigned char *mask = b + head - 4, *payload = b + head;
    char start[65];
    size_t start_len = len < 64 ? len : 64;
    for (size_t i = 0; i < start_len; i++)
        start[i] = (char)(payload[i] ^ mask[i & 3]);
    start[start_len] = 0;
    if ((b[0] & 0x0f) != LOAD_TEXT)
        return head + len;
    if (strncmp(start, subscribe, sizeof subscribe - 1) == 0) {
        peer_subscribe(f, p);
    } else {
        char *data = strstr(start, "\"data\":");
        if (data) {
            size_t skip = (size_t)(data + 7 - start);
            floor_publish(f, payload + skip, len - skip - 1, skip, mask);
        }
    }
    return head + len;
}

/* False when the peer is gone. */
static bool peer_read(struct floor *f, struct peer *p)
{
    for (;;) {
        size_t have = p->rest.have, used = 0, n;
        if (have)
            memcpy(f->in, p->rest.bytes, have);
        ssize_t got = recv(p->fd, f->in + have, READ_BYTES - have, 0);
        if (got < 0 && errno == EAGAIN)
            return true;
        if (got <= 0 || (p->upgraded && !have && (f->in[0] & 0x0f) == LOAD_CLOSE))
            return false;
        bool more = (size_t)got == READ_BYTES - have;
        have += (size_t)got;
        if (!p->upgraded) {
            unsigned char *end = memmem(f->in, have, "\r\n\r\n", 4);
            if (end) {
                peer_greet(p);
                used = (size_t)(end + 4 - f->in);
            }
        }
        while (p->upgraded && (n = peer_frame(f, p, f->in + used, have - used)))
            used += n;
        load_keep(&p->rest, f->in + used, have - used);
        if (!more)
            return true;
    }
}

static void peer_write(struct floor *f, struct peer *p)
{
    size_t left = f->batch_len - p->sent;
    if (!left)
        return; /* subscribed in this very round, behind the publish */
    ssize_t n = send(p->fd, f->batch + p->sent, left, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        n = (ssize_t)left; /* the read side will see that it is gone */
    if (n > 0)
        p->sent += (size_t)n;
    bool waits = p->sent < f->batch_len;
    if (waits != p->waits_to_write) {
        peer_watch(f, p, EPOLL_CTL_MOD, waits ? EPOLLIN | EPOLLOUT : EPOLLIN);
        f->behind += waits ? 1 : -1;
        p->waits_to_write = waits;
    }
}

static void floor_flush(struct floor *f)
{
    if (f->batch_len != f->batch_flushed) {
        for (int i = 0; i < f->subscriber_count; i++)
            if (!f->peers[f->subscribers[i]].waits_to_write)
                peer_write(f, &f->peers[f->subscribers[i]]);
        f->batch_flushed = f->batch_len;
    }
    if (f->batch_len && !f->behind) {
        for (int i = 0; i < f->subscriber_count; i++)
            f->peers[f->subscribers[i]].sent = 0;
        f->batch_len = f->batch_flushed = 0;
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
            peer_drop(f, p);
    }
    floor_flush(f);
}

int main(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    size_t limit = load_want_descriptors(64);
    struct floor f = {
        .epoll = epoll_create1(EPOLL_CLOEXEC),
        .listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
        .peers = calloc(limit, sizeof(struct peer)),
        .subscribers = calloc(limit, sizeof(int)),
        .batch = malloc(READ_BYTES),
        .batch_cap = READ_BYTES,
        .in = malloc(READ_BYTES),
    };
    struct epoll_event e = {.events = EPOLLIN, .data.fd = f.listener};

    if (!f.peers || !f.subscribers || !f.batch || !f.in)
        load_die("no memory");
    if (f.epoll < 0 || f.listener < 0 || bind(f.listener, (struct sockaddr *)&at, sizeof at) != 0 ||
        listen(f.listener, 4096) != 0 ||
        getsockname(f.listener, (struct sockaddr *)&at, &len) != 0 ||
        epoll_ctl(f.epoll, EPOLL_CTL_ADD, f.listener, &e) != 0)
        load_die("cannot listen: %s", strerror(errno));
    fprintf(stderr, "floor listening port=%u\n", ntohs(at.sin_port));
    for (;;)
        floor_round(&f);
}
