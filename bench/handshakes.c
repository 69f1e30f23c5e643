/* What a TLS handshake costs a server, from the outside: connections that shake hands, are
 * upgraded, greeted and closed, so many of them at once.
 *
 * A full handshake agrees on keys and has the server sign; a resumed one brings the ticket of the
 * first connection, and must be shorter. Prints "ready", then for each line "full|resumed count
 * at-once" of its standard input one of JSON with the processor time of the server's processes for
 * each connection, all of it from accepting to closing. */
#define _GNU_SOURCE
#include "load_tls.h"

#include <fcntl.h>
#include <getopt.h>
#include <sys/epoll.h>

enum { EVENTS = 256, MOST = 4096, MAX_PIDS = 16, IDLE_MS = 10 };

struct bench {
    struct load_tls *tls;
    uint16_t port;
    pid_t pids[MAX_PIDS];
    int pid_count;
    int epoll;
    bool resume;
    size_t full; /* bytes that a full handshake receives */
    unsigned begun, ended;
    struct load_conn conns[MOST];
    bool asked[MOST];
};

static uint64_t cpu_ns(const struct bench *b)
{
    uint64_t sum = 0;
    for (int i = 0; i < b->pid_count; i++)
        sum += load_cpu_ns(b->pids[i]);
    return sum;
}

/* The server's processor time once it does nothing any more. */
static uint64_t idle_cpu_ns(const struct bench *b)
{
    for (uint64_t before = cpu_ns(b), now;; before = now) {
        usleep(IDLE_MS * 1000);
        now = cpu_ns(b);
        if (now - before < IDLE_MS * 1000000 / 20)
            return now;
    }
}

/* Upgraded, and greeted with a whole frame. */
static bool greeted(const struct load_conn *c)
{
    struct load_in in;
    const unsigned char *end = c->bytes ? memmem(c->bytes, c->have, "\r\n\r\n", 4) : NULL;
    if (!end)
        return false;
    if (strncmp((const char *)c->bytes, "HTTP/1.1 101 ", 13) != 0)
        load_die("a connection was not upgraded: %.*s", (int)c->have, (const char *)c->bytes);
    end += 4;
    return load_parse(end, c->have - (size_t)(end - c->bytes), &in);
}

/* True when the connection has done all. */
static bool go_on(struct bench *b, unsigned i)
{
    struct load_conn *c = &b->conns[i];
    struct load_tls_side *side = c->of;
    unsigned char bytes[2 * LOAD_TLS_RECORD + 4096];
    if (!b->asked[i]) {
        if (!load_tls_step(c))
            return false;
        if (b->resume && side->received * 3 > b->full * 2)
            load_die("a session was not resumed");
        load_ask(c, b->port, "/", NULL);
        b->asked[i] = true;
        return false;
    }
    if (c->have)
        memcpy(bytes, c->bytes, c->have);
    ssize_t n = load_receive(c, bytes + c->have, sizeof bytes - c->have);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0)
        load_die("a connection was not greeted");
    load_keep(c, bytes, c->have + (size_t)n);
    return greeted(c);
}

static void begin(struct bench *b, unsigned i)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
    struct load_conn *c = &b->conns[i];
    *c = load_dial(b->port, b->begun++);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(b->epoll, EPOLL_CTL_ADD, c->fd, &e))
        load_die("epoll_ctl: %s", strerror(errno));
    b->asked[i] = false;
    load_tls_begin(b->tls, c, b->resume);
    go_on(b, i); /* it may be done before anyone waits for it */
}

static void connections(struct bench *b, unsigned count, unsigned at_once)
{
    struct epoll_event events[EVENTS];
    b->begun = b->ended = 0;
    for (unsigned i = 0; i < at_once; i++)
        begin(b, i);
    while (b->ended < count) {
        int n = epoll_wait(b->epoll, events, EVENTS, LOAD_PATIENCE_SECONDS * 1000);
        if (n <= 0)
            load_die("%u of %u handshakes do not end", count - b->ended, count);
        for (int e = 0; e < n; e++) {
            unsigned i = events[e].data.u32;
            if (!go_on(b, i))
                continue;
            load_close(&b->conns[i]);
            b->ended++;
            if (b->begun < count)
                begin(b, i);
        }
    }
}

static void measure(struct bench *b, const char *kind, unsigned count, unsigned at_once)
{
    b->resume = strcmp(kind, "resumed") == 0;
    uint64_t at = load_now_ns(), cpu = idle_cpu_ns(b);
    connections(b, count, at_once);
    double wall = (double)(load_now_ns() - at) / 1e9;
    double us = (double)(idle_cpu_ns(b) - cpu) / 1e3;
    printf("{\"kind\":\"%s\",\"count\":%u,\"at_once\":%u,\"seconds\":%.3f,"
           "\"cpu_us_per_handshake\":%.3f,\"handshakes_per_cpu_second\":%.0f}\n",
        kind, count, at_once, wall, us / count, count / us * 1e6);
    fflush(stdout);
}

/* What the others resume. */
static void first(struct bench *b)
{
    struct load_conn c = load_dial(b->port, 0);
    struct load_tls_side *side;
    load_tls_begin(b->tls, &c, false);
    if (!load_tls_step(&c))
        load_die("the first handshake does not end");
    side = c.of;
    b->full = side->received;
    load_tls_keep(b->tls, &c);
    load_close(&c);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", 1, NULL, 'p'}, {"pid", 1, NULL, 'P'}, {NULL, 0, NULL, 0}};
    static struct bench b;
    char line[128];

    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'p')
            b.port = (uint16_t)load_number("--port", optarg, 1, 65535);
        else if (o != 'P')
            load_die("usage: handshakes --port N --pid N[,N...]");
        else
            for (char *word = strtok(optarg, ","); word; word = strtok(NULL, ","))
                if (b.pid_count < MAX_PIDS)
                    b.pids[b.pid_count++] = (pid_t)load_number("--pid", word, 1, INT32_MAX);
    }
    if (!b.port || !b.pid_count)
        load_die("usage: handshakes --port N --pid N[,N...]");
    load_want_descriptors(MOST + 64);
    b.tls = load_tls_new();
    b.epoll = epoll_create1(EPOLL_CLOEXEC);
    first(&b);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        char *at = strchr(line, ' ');
        if (!at)
            load_die("not a cell: %s", line);
        *at++ = 0;
        unsigned long count = strtoul(at, &at, 10), at_once = strtoul(at, &at, 10);
        if (!count || count > UINT32_MAX || !at_once || at_once > count || at_once > MOST)
            load_die("not so many: %lu, %lu at once", count, at_once);
        measure(&b, line, (unsigned)count, (unsigned)at_once);
    }
    return 0;
}
