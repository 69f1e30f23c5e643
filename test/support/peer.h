/* A WebSocket client for tests that shares no code with Hermes: one blocking socket.
 *
 * Order: peer_open, then sending and peer_next as wanted, peer_drop. Ownership: the caller's
 * struct. Threads: one at a time. Whatever waits, waits PEER_PATIENCE seconds at most. */
#ifndef HERMES_SUPPORT_PEER_H
#define HERMES_SUPPORT_PEER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    PEER_PATIENCE = 60,
    PEER_TEXT = 1,
    PEER_BINARY = 2,
    PEER_CLOSE = 8,
    PEER_PING = 9,
    PEER_PONG = 10
};

/* What peer_next tells besides an opcode. */
enum {
    PEER_END = 0,      /* of the stream, however it came */
    PEER_LATE = -1,    /* nothing came for too long */
    PEER_BAD = -2,     /* bytes that a server may not send */
    PEER_NOTHING = -3, /* peer_try: no whole frame is there */
};

struct peer {
    int fd;
    int close_code; /* of the close frame that came; 0: none, 1005: without a code */
    char *bytes;
    size_t at;
    size_t len;
    size_t cap;
};

/* Connects, whatever interrupts it: with a patience set, the system does not go on by itself. */
static inline bool peer_connects(int fd, const struct sockaddr_in *to)
{
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof error;
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) == 0)
        return true;
    if (errno != EINTR)
        return false;
    while (poll(&writable, 1, PEER_PATIENCE * 1000) < 0)
        if (errno != EINTR)
            return false;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}

/* Only the socket. `receive_bytes`: the size of its buffer; 0: as the system has it. */
static inline bool peer_connect(struct peer *p, int port, int receive_bytes)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons((in_port_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    struct timeval patience = {.tv_sec = PEER_PATIENCE};
    int yes = 1;
    *p = (struct peer){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (p->fd < 0)
        return false;
    if (receive_bytes)
        setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(p->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (peer_connects(p->fd, &to))
        return true;
    close(p->fd);
    p->fd = -1;
    return false;
}

/* Leaves without a word; `reset`: so that the server reads an error. */
static inline void peer_drop(struct peer *p, bool reset)
{
    struct linger linger = {.l_onoff = 1};
    if (p->fd >= 0) {
        if (reset)
            setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        close(p->fd);
    }
    free(p->bytes);
    *p = (struct peer){.fd = -1};
}

/* False when the connection is gone. */
static inline bool peer_send_bytes(struct peer *p, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        ssize_t sent = send(p->fd, at, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

/* recv(2), whatever interrupts it: with a patience set, the system does not go on by itself. */
static inline ssize_t peer_recv(struct peer *p, void *bytes, size_t len)
{
    ssize_t got;
    do
        got = recv(p->fd, bytes, len, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

/* Writes the head of one masked frame (with a key of zeros, under which payload is as it is) and
 * returns its size, 14 at most. */
static inline size_t peer_frame_head(uint8_t *out, int opcode, size_t len)
{
    size_t at = 2;
    out[0] = (uint8_t)(0x80 | opcode);
    if (len < 126) {
        out[1] = (uint8_t)len;
    } else {
        size_t width = len <= 0xffff ? 2 : 8;
        out[1] = width == 2 ? 126 : 127;
        for (size_t i = width; i > 0; i--)
            out[at++] = (uint8_t)((uint64_t)len >> (8 * (i - 1)));
    }
    out[1] |= 0x80;
    memset(out + at, 0, 4);
    return at + 4;
}

static inline bool peer_send_frame(struct peer *p, int opcode, const void *payload, size_t len)
{
    uint8_t head[14];
    size_t head_len = peer_frame_head(head, opcode, len);
    char *frame = malloc(head_len + len);
    if (!frame)
        return false;
    memcpy(frame, head, head_len);
    if (len > 0)
        memcpy(frame + head_len, payload, len);
    bool sent = peer_send_bytes(p, frame, head_len + len);
    free(frame);
    return sent;
}

/* One text frame, of up to 64 KiB. */
__attribute__((format(printf, 2, 3))) static inline bool peer_sendf(
    struct peer *p, const char *format, ...)
{
    char *text;
    va_list arguments;
    va_start(arguments, format);
    int len = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (len < 0)
        return false;
    bool sent = peer_send_frame(p, PEER_TEXT, text, (size_t)len);
    free(text);
    return sent;
}

/* More bytes; 1, or one of the above. */
static inline int peer_fill(struct peer *p, bool wait)
{
    if (p->at > 0) {
        memmove(p->bytes, p->bytes + p->at, p->len - p->at);
        p->len -= p->at;
        p->at = 0;
    }
    if (p->cap - p->len < 4096) {
        size_t cap = p->cap ? p->cap * 2 : 16384;
        char *bytes = realloc(p->bytes, cap);
        if (!bytes)
            return PEER_BAD;
        p->bytes = bytes;
        p->cap = cap;
    }
    for (;;) {
        ssize_t got = recv(p->fd, p->bytes + p->len, p->cap - p->len, wait ? 0 : MSG_DONTWAIT);
        if (got > 0) {
            p->len += (size_t)got;
            return 1;
        }
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return wait ? PEER_LATE : PEER_NOTHING;
        return PEER_END;
    }
}

/* Takes the frame that lies at p->at; false when it is not whole yet. */
static inline bool peer_take(struct peer *p, int *opcode, const char **payload, size_t *len)
{
    const uint8_t *b = (const uint8_t *)p->bytes + p->at;
    size_t have = p->len - p->at;
    if (have < 2)
        return false;
    size_t head = 2;
    size_t n = b[1] & 0x7f;
    if (n >= 126) {
        head += n == 126 ? 2 : 8;
        if (have < head)
            return false;
        n = 0;
        for (size_t i = 2; i < head; i++)
            n = n << 8 | b[i];
    }
    if (have < head + n)
        return false;
    /* A Hermes server sends whole messages, unmasked. */
    *opcode = (b[0] & 0xf0) == 0x80 && !(b[1] & 0x80) ? b[0] & 0xf : PEER_BAD;
    *payload = (const char *)b + head;
    *len = n;
    p->at += head + n;
    return true;
}

static inline int peer_receive(struct peer *p, bool wait, const char **payload, size_t *len)
{
    int opcode;
    *payload = "";
    *len = 0;
    for (;;) {
        while (!peer_take(p, &opcode, payload, len)) {
            int got = peer_fill(p, wait);
            if (got != 1)
                return got == PEER_END && p->at != p->len && p->close_code ? PEER_BAD : got;
        }
        if (opcode == PEER_PING) {
            peer_send_frame(p, PEER_PONG, *payload, *len);
            continue;
        }
        if (opcode == PEER_CLOSE)
            p->close_code = *len >= 2 ? (uint8_t)(*payload)[0] << 8 | (uint8_t)(*payload)[1] : 1005;
        return opcode;
    }
}

/* The next frame's opcode, with its payload, which is not terminated and valid until the next call;
 * or one of the above. Pings are answered and not told. */
static inline int peer_next(struct peer *p, const char **payload, size_t *len)
{
    return peer_receive(p, true, payload, len);
}

/* The same without waiting. */
static inline int peer_try(struct peer *p, const char **payload, size_t *len)
{
    return peer_receive(p, false, payload, len);
}

/* Whether the text begins with that. */
static inline bool peer_is(const char *payload, size_t len, const char *start)
{
    size_t n = strlen(start);
    return len >= n && memcmp(payload, start, n) == 0;
}

/* `more`: header lines. */
static inline bool peer_upgrade_with(struct peer *p, const char *more)
{
    char request[512];
    const char *payload;
    size_t len;
    char *end = NULL;
    int request_len = snprintf(request, sizeof request,
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
        more);
    if (!peer_send_bytes(p, request, (size_t)request_len))
        return false;
    while (!end) {
        if (peer_fill(p, true) != 1)
            return false;
        end = memmem(p->bytes, p->len, "\r\n\r\n", 4);
    }
    if (!peer_is(p->bytes, p->len, "HTTP/1.1 101 ") ||
        !memmem(p->bytes, p->len, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28))
        return false;
    p->at = (size_t)(end - p->bytes) + 4;
    return peer_next(p, &payload, &len) == PEER_TEXT && peer_is(payload, len, "{\"type\":\"info\"");
}

static inline bool peer_upgrade(struct peer *p)
{
    return peer_upgrade_with(p, "");
}

static inline bool peer_open_with(struct peer *p, int port, const char *more)
{
    if (!peer_connect(p, port, 0))
        return false;
    if (peer_upgrade_with(p, more))
        return true;
    peer_drop(p, false);
    return false;
}

/* Connected, with the handshake done and the info frame read. False, and closed, when not. */
static inline bool peer_open(struct peer *p, int port)
{
    return peer_open_with(p, port, "");
}

/* The same at level 2. */
static inline bool peer_open2(struct peer *p, int port)
{
    return peer_open_with(p, port, "Sec-WebSocket-Protocol: hermes.v2\r\n");
}

/* Subscribes (or unsubscribes) and reads until the answer, throwing away what comes before. False
 * when it does not come. */
static inline bool peer_command(struct peer *p, const char *type, const char *topic)
{
    const char *payload;
    size_t len;
    char answer[64];
    snprintf(answer, sizeof answer, "{\"type\":\"ack_%s\"", type);
    if (!peer_sendf(p, "{\"type\":\"%s\",\"topic\":\"%s\"}", type, topic))
        return false;
    for (;;) {
        int got = peer_next(p, &payload, &len);
        if (got != PEER_TEXT)
            return false;
        if (peer_is(payload, len, answer))
            return true;
    }
}

static inline bool peer_subscribe(struct peer *p, const char *topic)
{
    return peer_command(p, "subscribe", topic);
}

#endif
