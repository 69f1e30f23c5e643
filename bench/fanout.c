/* Fan-out: S subscribers of one topic and P publishers, as fast as a bounded window lets them.
 *
 * A publisher sends D messages by one write, so that the server finds them as a batch, and the next
 * D when all of these came back at all subscribers: never more than D of a publisher's messages are
 * in flight. Between a warm-up and the end lies the window in which the server's CPU time (user and
 * system, all threads) is read at both edges; both edges are moments at which a publisher's batch
 * was complete.
 *
 * Every delivery is compared byte for byte with what was published, and its number with the last
 * one of that publisher at that subscriber. The order of all publishers' messages is folded into
 * one value per subscriber, and these must be equal at all subscribers. Exit code 1 when anything
 * was lost, doubled, reordered or damaged; 2 when the run could not be made.
 *
 * A payload is a JSON string of exactly that many bytes, quotes included: 4 hexadecimal digits of
 * the publisher, 12 of the message's number, then padding. */
#define _GNU_SOURCE
#include "load.h"

#include <fcntl.h>
#include <getopt.h>
#include <sys/epoll.h>

enum {
    READ_BYTES = 1 << 18,
    EVENTS = 1024,
    MAX_PAYLOAD = 64 * 1024,
    MIN_PAYLOAD = 18,
    MIN_BATCHES = 2
};

#define TOPIC "bench"

struct sequence {
    uint64_t next;
    uint64_t seen; /* bit i: next - 1 - i has come */
};

struct subscriber {
    struct load_conn conn;
    uint64_t order; /* the deliveries of all publishers, folded in their order */
    struct sequence *of;
};

struct publisher {
    struct load_conn conn;
    uint64_t sent; /* messages */
    uint64_t owed; /* deliveries of the current batch that have not come */
    unsigned char *out;
    size_t out_len, out_at;
};

struct faults {
    uint64_t lost, doubled, reordered, damaged, disordered;
};

struct cell {
    int payload, inflight;
    double warmup, seconds;
};

struct edge {
    uint64_t at, cpu, own_cpu, switches, deliveries;
};

struct load {
    uint16_t port;
    pid_t pid;
    int subscriber_count, publisher_count, epoll;
    struct subscriber *subscribers;
    struct publisher *publishers;
    unsigned char *in;
    char payload[MAX_PAYLOAD];
    uint64_t deliveries;
    bool stop, stalled;
    struct faults faults;
};

static uint64_t own_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct edge load_edge(const struct load *l)
{
    return (struct edge){load_now_ns(), load_cpu_ns(l->pid), own_cpu_ns(),
        load_voluntary_switches(l->pid), l->deliveries};
}

static void payload_number(char *payload, int publisher, uint64_t number)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t all = (uint64_t)publisher << 48 | number;
    for (int i = 0; i < 16; i++)
        payload[1 + i] = digits[all >> (60 - 4 * i) & 15];
}

static bool payload_read(const unsigned char *payload, uint64_t *all)
{
    uint64_t value = 0;
    for (int i = 1; i <= 16; i++) {
        unsigned c = payload[i];
        if (c - '0' < 10u)
            value = value << 4 | (c - '0');
        else if (c - 'a' < 6u)
            value = value << 4 | (c - 'a' + 10);
        else
            return false;
    }
    *all = value;
    return true;
}

static void publisher_write(struct load *l, struct publisher *p)
{
    while (p->out_at < p->out_len) {
        ssize_t n = send(p->conn.fd, p->out + p->out_at, p->out_len - p->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            load_die("publisher: %s", strerror(errno));
        if (n < 0)
            break;
        p->out_at += (size_t)n;
    }
    bool waits = p->out_at < p->out_len;
    struct epoll_event e = {.events = waits ? EPOLLIN | EPOLLOUT : EPOLLIN,
        .data.u64 = (uint64_t)(l->subscriber_count + (p - l->publishers))};
    epoll_ctl(l->epoll, EPOLL_CTL_MOD, p->conn.fd, &e);
}

static void publisher_send(struct load *l, struct publisher *p, const struct cell *cell)
{
    static const char before[] = "{\"topic\":\"" TOPIC "\",\"data\":";
    size_t before_len = sizeof before - 1, len = before_len + (size_t)cell->payload + 1;
    char text[sizeof before + MAX_PAYLOAD + 1];

    memcpy(text, before, before_len);
    memcpy(text + before_len, l->payload, (size_t)cell->payload);
    text[len - 1] = '}';
    p->out_len = p->out_at = 0;
    for (int i = 0; i < cell->inflight; i++) {
        payload_number(text + before_len, (int)(p - l->publishers), p->sent++);
        p->out_len += load_frame(p->out + p->out_len, LOAD_TEXT, text, len);
    }
    p->owed = (uint64_t)cell->inflight * (uint64_t)l->subscriber_count;
    publisher_write(l, p);
}

/* True when the message is one that had not come before. */
static bool sequence_take(struct sequence *s, uint64_t number, struct faults *faults)
{
    if (number == s->next) {
        s->next++;
        s->seen = s->seen << 1 | 1;
        return true;
    }
    if (number > s->next) {
        uint64_t missing = number - s->next;
        faults->lost += missing;
        s->next = number + 1;
        s->seen = missing < 63 ? s->seen << (missing + 1) | 1 : 1;
        return true;
    }
    uint64_t back = s->next - 1 - number;
    if (back < 64 && !(s->seen >> back & 1)) {
        s->seen |= (uint64_t)1 << back;
        faults->lost--;
        faults->reordered++;
        return true;
    }
    faults->doubled++;
    return false;
}

static void subscriber_delivery(
    struct load *l, struct subscriber *s, const struct cell *cell, const struct load_in *in)
{
    uint64_t all, number;
    size_t len = (size_t)cell->payload;
    if (in->len != len || in->payload[0] != '"' || !payload_read(in->payload, &all) ||
        all >> 48 >= (uint64_t)l->publisher_count ||
        memcmp(in->payload + 17, l->payload + 17, len - 17) != 0) {
        if (!l->faults.damaged++)
            fprintf(stderr, "not what was published: %.*s\n", in->len > 200 ? 200 : (int)in->len,
                (const char *)in->payload);
        return;
    }
    struct publisher *p = &l->publishers[all >> 48];
    number = all & 0xffffffffffff;
    if (number >= p->sent) {
        l->faults.damaged++;
        return;
    }
    s->order = (s->order ^ all) * 0x9e3779b97f4a7c15u;
    l->deliveries++;
    if (sequence_take(&s->of[all >> 48], number, &l->faults) && p->owed)
        p->owed--;
}

static void conn_read(
    struct load *l, struct load_conn *c, struct subscriber *s, const struct cell *cell)
{
    size_t have = c->have, used = 0;
    struct load_in in;
    if (have)
        memcpy(l->in, c->bytes, have);
    ssize_t n = recv(c->fd, l->in + have, READ_BYTES - have, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        load_die("the server closed a connection: %s", n ? strerror(errno) : "end of stream");
    have += (size_t)n;
    while (load_parse(l->in + used, have - used, &in)) {
        used += in.size;
        if (in.opcode == LOAD_TEXT && s) {
            subscriber_delivery(l, s, cell, &in);
        } else if (in.opcode == LOAD_PING && in.len < 126) {
            unsigned char pong[140];
            load_send_all(c->fd, pong, load_frame(pong, LOAD_PONG, in.payload, in.len));
        } else {
            load_die("unexpected frame with opcode %d: %.*s", in.opcode,
                in.len > 200 ? 200 : (int)in.len, (const char *)in.payload);
        }
    }
    load_keep(c, l->in + used, have - used);
}

/* One epoll round; false when nothing came for that long. */
static bool load_round(struct load *l, const struct cell *cell, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(l->epoll, events, EVENTS, timeout_ms);
    for (int i = 0; i < n; i++) {
        uint64_t index = events[i].data.u64;
        if (index < (uint64_t)l->subscriber_count) {
            struct subscriber *s = &l->subscribers[index];
            conn_read(l, &s->conn, s, cell);
            continue;
        }
        struct publisher *p = &l->publishers[index - (uint64_t)l->subscriber_count];
        if (events[i].events & EPOLLOUT)
            publisher_write(l, p);
        if (events[i].events & ~(uint32_t)EPOLLOUT)
            conn_read(l, &p->conn, NULL, cell);
    }
    return n > 0;
}

/* Compares the subscribers with each other and with what was sent, when nothing is in flight. */
static void load_settle(struct load *l)
{
    for (int i = 0; i < l->subscriber_count; i++) {
        struct subscriber *s = &l->subscribers[i];
        for (int p = 0; p < l->publisher_count; p++) {
            l->faults.lost += l->publishers[p].sent - s->of[p].next;
            s->of[p] = (struct sequence){l->publishers[p].sent, ~(uint64_t)0};
        }
        if (s->order != l->subscribers[0].order)
            l->faults.disordered++;
    }
}

/* One measured cell; false when a fault was seen. */
static bool load_run(struct load *l, const struct cell *cell)
{
    uint64_t begin = load_now_ns(), warm = begin + (uint64_t)(cell->warmup * 1e9), end = 0;
    struct edge first = {0}, last = {0};
    int batches = 0;

    l->faults = (struct faults){0};
    memset(l->payload, 0, sizeof l->payload);
    for (int i = 0; i < cell->payload; i++)
        l->payload[i] = (char)('A' + i % 26);
    l->payload[0] = l->payload[cell->payload - 1] = '"';
    for (int i = 0; i < l->publisher_count; i++) {
        struct publisher *p = &l->publishers[i];
        p->out = realloc(p->out, (size_t)cell->inflight * ((size_t)cell->payload + 64));
        if (!p->out)
            load_die("no memory");
        publisher_send(l, p, cell);
    }
    l->stop = false;
    for (int running = l->publisher_count; running && !l->stalled;) {
        if (!load_round(l, cell, LOAD_PATIENCE_SECONDS * 1000))
            l->stalled = true;
        for (int i = 0; i < l->publisher_count; i++) {
            struct publisher *p = &l->publishers[i];
            if (p->owed || p->out_at < p->out_len || !p->out_len)
                continue;
            if (i == 0 && !l->stop) {
                uint64_t now = load_now_ns();
                batches++;
                if (!end && now >= warm) {
                    first = load_edge(l);
                    end = first.at + (uint64_t)(cell->seconds * 1e9);
                    batches = 0;
                } else if (end && now >= end && batches >= MIN_BATCHES) {
                    last = load_edge(l);
                    l->stop = true;
                }
            }
            p->out_len = 0;
            if (l->stop)
                running--;
            else
                publisher_send(l, p, cell);
        }
    }
    while (!l->stalled && load_round(l, cell, 5)) /* what came twice comes late */
        ;
    load_settle(l);

    struct faults f = l->faults;
    double deliveries = (double)(last.deliveries - first.deliveries);
    double wall = (double)(last.at - first.at) / 1e9;
    bool good = !(f.lost | f.doubled | f.reordered | f.damaged | f.disordered) && !l->stalled;
    printf("{\"subscribers\":%d,\"publishers\":%d,\"payload\":%d,\"inflight\":%d,"
           "\"seconds\":%.3f,\"deliveries\":%.0f,\"cpu_us_per_delivery\":%.4f,"
           "\"deliveries_per_second\":%.0f,\"server_cpu\":%.3f,\"generator_cpu\":%.3f,"
           "\"voluntary_switches_per_second\":%.0f,\"lost\":%llu,\"doubled\":%llu,"
           "\"reordered\":%llu,\"damaged\":%llu,\"disordered_subscribers\":%llu,"
           "\"stalled\":%s}\n",
        l->subscriber_count, l->publisher_count, cell->payload, cell->inflight, wall, deliveries,
        (double)(last.cpu - first.cpu) / 1e3 / deliveries, deliveries / wall,
        (double)(last.cpu - first.cpu) / 1e9 / wall,
        (double)(last.own_cpu - first.own_cpu) / 1e9 / wall,
        (double)(last.switches - first.switches) / wall, (unsigned long long)f.lost,
        (unsigned long long)f.doubled, (unsigned long long)f.reordered,
        (unsigned long long)f.damaged, (unsigned long long)f.disordered,
        l->stalled ? "true" : "false");
    fflush(stdout);
    return good;
}

static void load_join(struct load *l, struct load_conn *c, uint64_t index)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = index};
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e))
        load_die("epoll_ctl: %s", strerror(errno));
}

static void load_connect(struct load *l)
{
    size_t subscribers = (size_t)l->subscriber_count, publishers = (size_t)l->publisher_count;
    struct sequence *sequences = calloc(subscribers * publishers, sizeof *sequences);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->in = malloc(READ_BYTES);
    l->subscribers = calloc(subscribers, sizeof *l->subscribers);
    l->publishers = calloc(publishers, sizeof *l->publishers);
    if (!sequences || l->epoll < 0 || !l->in || !l->subscribers || !l->publishers)
        load_die("no memory");
    for (size_t i = 0; i < subscribers; i++) {
        struct subscriber *s = &l->subscribers[i];
        s->of = sequences + i * publishers;
        s->conn = load_open(l->port, (unsigned)i);
        load_subscribe(&s->conn, TOPIC);
        load_join(l, &s->conn, i);
    }
    for (size_t i = 0; i < publishers; i++) {
        int bytes = 4 << 20;
        struct publisher *p = &l->publishers[i];
        p->conn = load_open(l->port, (unsigned)i);
        setsockopt(p->conn.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
        load_join(l, &p->conn, subscribers + i);
    }
}

static __attribute__((noreturn)) void usage(void)
{
    fprintf(stderr,
        "usage: fanout --port N --pid N [--subscribers 1000] [--publishers 1] [--payload 256]\n"
        "              [--inflight 32] [--warmup 0.3] [--seconds 2] [--commands]\n"
        "Saturates a Hermes server on 127.0.0.1 and prints, as one line of JSON, its CPU time per\n"
        "delivery. With --commands it connects, prints \"ready\", and measures one cell per line\n"
        "\"payload inflight warmup seconds\" of its standard input. Exit code 1: a message was\n"
        "lost, doubled, reordered or damaged.\n");
    exit(2);
}

/* "payload inflight warmup seconds" */
static bool cell_read(const char *line, struct cell *cell)
{
    char *at;
    cell->payload = (int)strtol(line, &at, 10);
    cell->inflight = (int)strtol(at, &at, 10);
    cell->warmup = strtod(at, &at);
    cell->seconds = strtod(at, &at);
    return *at == '\n' && cell->payload >= MIN_PAYLOAD && cell->payload <= MAX_PAYLOAD &&
           cell->inflight >= 1;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"port", 1, NULL, 'p'}, {"pid", 1, NULL, 'P'},
        {"subscribers", 1, NULL, 's'}, {"publishers", 1, NULL, 'n'}, {"payload", 1, NULL, 'b'},
        {"inflight", 1, NULL, 'd'}, {"warmup", 1, NULL, 'w'}, {"seconds", 1, NULL, 't'},
        {"commands", 0, NULL, 'c'}, {NULL, 0, NULL, 0}};
    struct load l = {.subscriber_count = 1000, .publisher_count = 1};
    struct cell cell = {256, 32, 0.3, 2};
    bool commands = false, good = true;

    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'p')
            l.port = (uint16_t)load_number("--port", optarg, 1, 65535);
        else if (o == 'P')
            l.pid = (pid_t)load_number("--pid", optarg, 1, 1 << 30);
        else if (o == 's')
            l.subscriber_count = (int)load_number("--subscribers", optarg, 1, 1000000);
        else if (o == 'n')
            l.publisher_count = (int)load_number("--publishers", optarg, 1, 1000);
        else if (o == 'b')
            cell.payload = (int)load_number("--payload", optarg, MIN_PAYLOAD, MAX_PAYLOAD);
        else if (o == 'd')
            cell.inflight = (int)load_number("--inflight", optarg, 1, 100000);
        else if (o == 'w')
            cell.warmup = strtod(optarg, NULL);
        else if (o == 't')
            cell.seconds = strtod(optarg, NULL);
        else if (o == 'c')
            commands = true;
        else
            usage();
    }
    if (!l.port || !l.pid || optind != argc)
        usage();
    load_want_descriptors(
        (unsigned long)l.subscriber_count + (unsigned long)l.publisher_count + 16);
    load_connect(&l);
    if (!commands)
        return load_run(&l, &cell) ? 0 : 1;

    char line[128];
    puts("ready");
    fflush(stdout);
    while (good && fgets(line, sizeof line, stdin)) {
        if (!cell_read(line, &cell))
            load_die("not a cell: %s", line);
        good = load_run(&l, &cell);
    }
    return good ? 0 : 1;
}
