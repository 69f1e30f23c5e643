/* What the load generators share: WebSocket clients on plain sockets, and reading off a server.
 *
 * Header-only, so that each bench is one source file. The clients are bare on purpose: a generator
 * shares the machine with the server it measures, so it parses no more than it has to.
 * Ownership: load_open gives a socket and perhaps bytes; load_close takes both back.
 * Threads: none; one generator is one thread. */
#ifndef HERMES_BENCH_LOAD_H
#define HERMES_BENCH_LOAD_H

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* The sample key of RFC 6455 section 1.3: its answer is a constant that can be checked without
 * SHA-1 here, and given without SHA-1 by the floor. */
#define LOAD_KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define LOAD_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#define LOAD_PATIENCE_SECONDS 20

enum { LOAD_TEXT = 1, LOAD_CLOSE = 8, LOAD_PING = 9, LOAD_PONG = 10 };

static inline __attribute__((noreturn, format(printf, 1, 2))) void load_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}

static inline uint64_t load_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t load_own_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* User and system time of all threads of a process, the ended ones too, from the scheduler's own
 * clock: nanoseconds, where /proc/PID/stat counts in hundredths of a second. */
static inline uint64_t load_cpu_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
        load_die("cannot read the processor time of process %ld: is it running?", (long)pid);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A number from a "name: number" line of a /proc file; 0 when it is not there. */
static inline uint64_t load_proc_number(const char *path, const char *name)
{
    FILE *file = fopen(path, "re");
    char line[256];
    uint64_t value = 0;
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') {
            value = strtoull(line + strlen(name) + 1, NULL, 10);
            break;
        }
    if (file)
        fclose(file);
    return value;
}

/* How often the process's threads went to sleep by themselves. */
static inline uint64_t load_voluntary_switches(pid_t pid)
{
    char path[320];
    uint64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%ld/task", (long)pid);
    DIR *tasks = opendir(path);
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        if (task->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%ld/task/%s/status", (long)pid, task->d_name);
        sum += load_proc_number(path, "voluntary_ctxt_switches");
    }
    if (tasks)
        closedir(tasks);
    return sum;
}

/* Raises the soft descriptor limit to the hard one, which it returns; ends the program when that is
 * too low. */
static inline size_t load_want_descriptors(size_t wanted)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < wanted)
        load_die("%zu descriptors are needed, and the limit (ulimit -Hn) is %zu", wanted,
            (size_t)limit.rlim_max);
    return limit.rlim_max;
}

/* Appends a masked frame, as clients must; returns its size. `to` has room for len + 14. */
static inline size_t load_frame(unsigned char *to, int opcode, const void *payload, size_t len)
{
    static const unsigned char mask[4] = {0x5a, 0x13, 0xc7, 0x9e};
    const unsigned char *from = payload;
    size_t head = 2;
    to[0] = (unsigned char)(0x80 | opcode);
    if (len < 126) {
        to[1] = (unsigned char)(0x80 | len);
    } else if (len < 65536) {
        to[1] = 0x80 | 126;
        to[2] = (unsigned char)(len >> 8);
        to[3] = (unsigned char)len;
        head = 4;
    } else {
        to[1] = 0x80 | 127;
        for (int i = 0; i < 8; i++)
            to[2 + i] = (unsigned char)((uint64_t)len >> (56 - 8 * i));
        head = 10;
    }
    memcpy(to + head, mask, 4);
    head += 4;
    for (size_t i = 0; i < len; i++)
        to[head + i] = from[i] ^ mask[i & 3];
    return head + len;
}

struct load_in {
    int opcode;
    const unsigned char *payload;
    size_t len;
    size_t size; /* of the whole frame */
};

/* Reads one whole frame of a server; false when more bytes are needed. */
static inline bool load_parse(const unsigned char *b, size_t have, struct load_in *in)
{
    size_t head = 2;
    if (!b || have < 2)
        return false;
    if ((b[0] & 0xf0) != 0x80 || (b[1] & 0x80))
        load_die("the server sent a frame that no server may send here: %02x %02x", b[0], b[1]);
    in->len = b[1];
    if (b[1] == 126) {
        if (have < 4)
            return false;
        in->len = (size_t)b[2] << 8 | b[3];
        head = 4;
    } else if (b[1] == 127) {
        if (have < 10)
            return false;
        in->len = 0;
        for (int i = 2; i < 10; i++)
            in->len = in->len << 8 | b[i];
        head = 10;
    }
    in->opcode = b[0] & 0x0f;
    in->payload = b + head;
    in->size = head + in->len;
    return have >= in->size;
}

struct load_conn;

/* What is between a connection and its socket, see load_tls.h. As recv and send, errno too; what is
 * received is all that has come. */
struct load_wire {
    ssize_t (*receive)(struct load_conn *c, void *bytes, size_t len);
    ssize_t (*send)(struct load_conn *c, const void *bytes, size_t len);
    void (*close)(struct load_conn *c);
};

/* One connection, with the bytes that came but are not yet a whole frame. */
struct load_conn {
    int fd;
    uint32_t have;
    uint32_t cap;
    unsigned char *bytes;
    const struct load_wire *wire; /* NULL: nothing */
    void *of;                     /* the wire's own */
};

static inline ssize_t load_receive(struct load_conn *c, void *bytes, size_t len)
{
    return c->wire ? c->wire->receive(c, bytes, len) : recv(c->fd, bytes, len, 0);
}

static inline ssize_t load_send(struct load_conn *c, const void *bytes, size_t len)
{
    return c->wire ? c->wire->send(c, bytes, len) : send(c->fd, bytes, len, MSG_NOSIGNAL);
}

static inline void load_keep(struct load_conn *c, const unsigned char *bytes, size_t len)
{
    if (!len || !bytes) {
        c->have = 0;
        return;
    }
    if (!c->bytes || len > c->cap) {
        c->cap = (uint32_t)len + 512;
        if (!(c->bytes = realloc(c->bytes, c->cap)))
            load_die("no memory");
    }
    memmove(c->bytes, bytes, len);
    c->have = (uint32_t)len;
}

static inline void load_more(struct load_conn *c)
{
    unsigned char buffer[4096];
    if (c->have > sizeof buffer / 2)
        load_die("an answer of more than %zu bytes while connecting", sizeof buffer / 2);
    if (c->have)
        memcpy(buffer, c->bytes, c->have);
    ssize_t n = load_receive(c, buffer + c->have, sizeof buffer - c->have);
    if (n <= 0)
        load_die("while connecting: %s", n ? strerror(errno) : "the server closed the connection");
    load_keep(c, buffer, c->have + (size_t)n);
}

static inline void load_send_all(struct load_conn *c, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len) {
        ssize_t n = load_send(c, at, len);
        if (n < 0)
            load_die("send: %s", strerror(errno));
        at += n;
        len -= (size_t)n;
    }
}

/* The index spreads connections over the source addresses 127.0.0.2 to .5: one address has about
 * 28,000 ports to one server. The socket blocks, with a time limit. */
static inline struct load_conn load_dial(uint16_t port, unsigned index)
{
    struct load_conn c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    struct timeval patience = {.tv_sec = LOAD_PATIENCE_SECONDS};
    int on = 1;

    if (c.fd < 0)
        load_die("socket: %s", strerror(errno));
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + index % 4);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(port);
    setsockopt(c.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(c.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (bind(c.fd, (struct sockaddr *)&from, sizeof from) ||
        connect(c.fd, (struct sockaddr *)&to, sizeof to))
        load_die("connection %u to port %u: %s", index, port, strerror(errno));
    return c;
}

/* Sends the handshake; load_upgraded waits for its answer. `protocol` is asked for, unless NULL. */
static inline void load_ask(
    struct load_conn *c, uint16_t port, const char *path, const char *protocol)
{
    char request[512];
    int len = snprintf(request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: " LOAD_KEY "\r\nSec-WebSocket-Version: 13\r\n%s%s%s\r\n",
        path, port, protocol ? "Sec-WebSocket-Protocol: " : "", protocol ? protocol : "",
        protocol ? "\r\n" : "");
    load_send_all(c, request, (size_t)len);
}

static inline struct load_conn load_connect_to(
    uint16_t port, unsigned index, const char *path, const char *protocol)
{
    struct load_conn c = load_dial(port, index);
    load_ask(&c, port, path, protocol);
    return c;
}

static inline void load_upgraded(struct load_conn *c)
{
    unsigned char *end;
    do
        load_more(c);
    while (!(end = memmem(c->bytes, c->have, "\r\n\r\n", 4)));
    end += 4;
    if (strncmp((char *)c->bytes, "HTTP/1.1 101 ", 13) != 0 ||
        !memmem(c->bytes, (size_t)(end - c->bytes), LOAD_ACCEPT, strlen(LOAD_ACCEPT)))
        load_die("a connection was not upgraded: %.*s", (int)(end - c->bytes), c->bytes);
    load_keep(c, end, (size_t)(c->bytes + c->have - end));
}

static inline void load_close(struct load_conn *c)
{
    if (c->wire)
        c->wire->close(c);
    close(c->fd);
    free(c->bytes);
    *c = (struct load_conn){.fd = -1};
}

/* A whole number of an option within bounds; ends the program with the option's name otherwise. */
static inline long load_number(const char *option, const char *text, long min, long max)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (!*text || *end || value < min || value > max)
        load_die("%s: a whole number from %ld to %ld, not \"%s\"", option, min, max, text);
    return value;
}

#endif
