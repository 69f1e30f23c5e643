/* What patterns cost a publish, from the outside: a server with so many patterns that match nothing
 * and so many that match every topic, and publishes over many topics or one.
 *
 * The patterns that match are of up to ten families, each held by a connection of its own, so that
 * every message is delivered once for each family; what is delivered must be what was published, in
 * order. A publisher sends D messages by one write and a ping behind them, and the next D when the
 * ping is answered and all deliveries have come. With --named all topics have a subscriber by name,
 * too, and so exist in the server; else they are names that nothing is known of. Prints "ready",
 * then measures a cell for each line "topics inflight warmup seconds" of its standard input. */
#define _GNU_SOURCE
#include "load.h"

#include <fcntl.h>
#include <getopt.h>
#include <hermes/protocol.h>
#include <sys/epoll.h>

enum {
    SITES = 100,
    KINDS = 10,
    FAMILIES = 10,
    HELD = 10000, /* subscriptions of a connection: the server's limit */
    WAVE = 100,   /* commands that are sent before their answers are read */
    ROOM = 64 * 1024,
    TEXT = 256,
};

struct holder {
    struct load_conn conn;
    bool ordered; /* it gets every message */
    uint64_t next;
};

struct bench {
    uint16_t port;
    pid_t pid;
    unsigned patterns, matching, topics, payload;
    bool named;
    struct holder *holders; /* of what does not match, of families, of names */
    unsigned holder_count;
    struct load_conn publisher;
    int epoll;
    uint64_t published, deliveries, pongs;
    unsigned char *out;
};

static int topic_put(char *to, unsigned i)
{
    return sprintf(to, "site-%02u:kind-%u:device-%06u", i % SITES, i / SITES % KINDS, i);
}

/* What looks like a topic up to its last segment, so that the index is walked to the end. */
static int other_pattern(char *to, unsigned i)
{
    unsigned site = i % SITES, kind = i / SITES % KINDS;
    if (i % 4 == 0)
        return sprintf(to, "site-%02u:*:none-%06u", site, i);
    if (i % 4 == 1)
        return sprintf(to, "*:kind-%u:none-%06u", kind, i);
    if (i % 4 == 2)
        return sprintf(to, "site-%02u:kind-%u:device-%06u:>", site, kind, i);
    return sprintf(to, "site-%02u:kind-%u:none-%06u", site, kind, i);
}

/* The i-th of a family, each topic is matched by one of them; 0 when there are no more. */
static int family_pattern(char *to, unsigned family, unsigned i)
{
    static const char *const for_all[] = {">", "*:>", "*:*:>", "*:*:*"};
    static const char *const of_site[] = {"site-%02u:>", "site-%02u:*:*", "site-%02u:*:>"};
    static const char *const of_kind[] = {"*:kind-%u:*", "*:kind-%u:>"};
    if (family < 4)
        return i < 1 ? sprintf(to, "%s", for_all[family]) : 0;
    if (family < 7)
        return i < SITES ? sprintf(to, of_site[family - 4], i) : 0;
    if (family < 9)
        return i < KINDS ? sprintf(to, of_kind[family - 7], i) : 0;
    return i < SITES * KINDS ? sprintf(to, "site-%02u:kind-%u:*", i % SITES, i / SITES) : 0;
}

/* ---- connecting ---- */

static bool begins(const struct load_in *in, const char *text)
{
    return in->len > strlen(text) && memcmp(in->payload, text, strlen(text)) == 0;
}

static void drop(struct load_conn *c, size_t used)
{
    c->have -= (uint32_t)used;
    memmove(c->bytes, c->bytes + used, c->have);
}

static void expect(struct load_conn *c, const char *text, unsigned count)
{
    while (count) {
        struct load_in in;
        size_t used = 0;
        while (count && load_parse(c->bytes + used, c->have - used, &in)) {
            if (!begins(&in, text))
                load_die("not awaited: %.*s", in.len > 200 ? 200 : (int)in.len,
                    (const char *)in.payload);
            used += in.size;
            count--;
        }
        drop(c, used);
        if (count)
            load_more(c);
    }
}

static struct load_conn open_one(const struct bench *b, unsigned index)
{
    struct load_conn c = load_connect_to(b->port, index, "/", HERMES_PROTOCOL_V2);
    load_upgraded(&c);
    expect(&c, "{\"type\":\"info\"", 1);
    return c;
}

struct wave {
    struct load_conn *conn;
    size_t len;
    unsigned count;
    unsigned char frames[WAVE * (TEXT + 14)];
};

static void wave_end(struct wave *w)
{
    if (w->count == 0)
        return;
    load_send_all(w->conn, w->frames, w->len);
    expect(w->conn, "{\"type\":\"ack_subscribe\"", w->count);
    w->len = w->count = 0;
}

static void wave_add(struct wave *w, const char *what, const char *name)
{
    char command[TEXT];
    int len =
        snprintf(command, sizeof command, "{\"type\":\"subscribe\",\"%s\":\"%s\"}", what, name);
    w->len += load_frame(w->frames + w->len, LOAD_TEXT, command, (size_t)len);
    if (++w->count == WAVE)
        wave_end(w);
}

static void hold(struct bench *b, struct wave *w, bool ordered)
{
    struct holder *h = &b->holders[b->holder_count];
    wave_end(w);
    *h = (struct holder){.conn = open_one(b, b->holder_count++), .ordered = ordered};
    w->conn = &h->conn;
}

static void connect_all(struct bench *b)
{
    static struct wave w;
    char name[TEXT];
    unsigned most = b->patterns / HELD + b->topics / HELD + FAMILIES + 2;
    b->holders = calloc(most, sizeof *b->holders);
    if (!b->holders)
        load_die("no memory");
    load_want_descriptors(most + 16);
    for (unsigned i = 0; i < b->patterns; i++) {
        if (i % HELD == 0)
            hold(b, &w, false);
        other_pattern(name, i);
        wave_add(&w, "pattern", name);
    }
    for (unsigned f = 0; f < b->matching; f++) {
        hold(b, &w, true);
        for (unsigned i = 0; family_pattern(name, f, i) > 0; i++)
            wave_add(&w, "pattern", name);
    }
    for (unsigned i = 0; b->named && i < b->topics; i++) {
        if (i % HELD == 0)
            hold(b, &w, false);
        topic_put(name, i);
        wave_add(&w, "topic", name);
    }
    wave_end(&w);
    b->publisher = open_one(b, b->holder_count);
    b->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i <= b->holder_count; i++) {
        struct load_conn *c = i < b->holder_count ? &b->holders[i].conn : &b->publisher;
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
        if (epoll_ctl(b->epoll, EPOLL_CTL_ADD, c->fd, &e))
            load_die("epoll_ctl: %s", strerror(errno));
    }
}

/* ---- measuring ---- */

/* The data is a number, its offset follows. */
static void take(struct bench *b, struct holder *h, const struct load_in *in)
{
    static const char key[] = ",\"data\":\"";
    const char *data = begins(in, "{\"type\":\"message\"")
                           ? memmem(in->payload, in->len, key, sizeof key - 1)
                           : NULL;
    if (!data)
        load_die(
            "not awaited: %.*s", in->len > 200 ? 200 : (int)in->len, (const char *)in->payload);
    uint64_t number = strtoull(data + sizeof key - 1, NULL, 10);
    if (number >= b->published || (h->ordered && number != h->next))
        load_die("message %llu came, %llu was to come", (unsigned long long)number,
            (unsigned long long)h->next);
    h->next = number + 1;
    b->deliveries++;
}

static void read_one(struct bench *b, unsigned index)
{
    bool publisher = index == b->holder_count;
    struct load_conn *c = publisher ? &b->publisher : &b->holders[index].conn;
    struct load_in in;
    size_t used = 0;
    load_more(c);
    while (load_parse(c->bytes + used, c->have - used, &in)) {
        used += in.size;
        if (publisher && in.opcode == LOAD_PONG)
            b->pongs++;
        else if (publisher || in.opcode != LOAD_TEXT)
            load_die("a frame with opcode %d was not awaited: %.*s", in.opcode,
                in.len > 200 ? 200 : (int)in.len, (const char *)in.payload);
        else
            take(b, &b->holders[index], &in);
    }
    drop(c, used);
}

static void batch(struct bench *b, unsigned topics, unsigned inflight)
{
    struct epoll_event events[64];
    char item[TEXT + ROOM];
    size_t len = 0;
    uint64_t owed = b->deliveries + (uint64_t)inflight * (b->matching + b->named);
    uint64_t pongs = b->pongs + 1;
    for (unsigned i = 0; i < inflight; i++) {
        char topic[TEXT];
        topic_put(topic, (unsigned)(b->published % topics));
        int item_len = snprintf(item, sizeof item, "{\"topic\":\"%s\",\"data\":\"%0*llu\"}", topic,
            (int)b->payload - 2, (unsigned long long)b->published++);
        len += load_frame(b->out + len, LOAD_TEXT, item, (size_t)item_len);
    }
    len += load_frame(b->out + len, LOAD_PING, "", 0);
    load_send_all(&b->publisher, b->out, len);
    while (b->deliveries < owed || b->pongs < pongs) {
        int n = epoll_wait(b->epoll, events, 64, LOAD_PATIENCE_SECONDS * 1000);
        if (n <= 0)
            load_die("%llu deliveries did not come", (unsigned long long)(owed - b->deliveries));
        for (int i = 0; i < n; i++)
            read_one(b, events[i].data.u32);
    }
    if (b->deliveries > owed)
        load_die("%llu deliveries too many", (unsigned long long)(b->deliveries - owed));
}

static void measure(
    struct bench *b, unsigned topics, unsigned inflight, double warmup, double seconds)
{
    char path[64];
    b->out = realloc(b->out, (size_t)inflight * (b->payload + TEXT) + 64);
    if (!b->out)
        load_die("no memory");
    for (uint64_t end = load_now_ns() + (uint64_t)(warmup * 1e9); load_now_ns() < end;)
        batch(b, topics, inflight);
    uint64_t first = b->published, begun = load_now_ns(), cpu = load_cpu_ns(b->pid), now;
    do
        batch(b, topics, inflight);
    while ((now = load_now_ns()) < begun + (uint64_t)(seconds * 1e9));
    cpu = load_cpu_ns(b->pid) - cpu;
    snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", (long)b->pid);
    printf("{\"patterns\":%u,\"matching\":%u,\"named\":%s,\"topics\":%u,\"inflight\":%u,"
           "\"payload\":%u,\"seconds\":%.3f,\"messages\":%llu,\"cpu_us_per_message\":%.4f,"
           "\"rss\":%llu}\n",
        b->patterns, b->matching, b->named ? "true" : "false", topics, inflight, b->payload,
        (double)(now - begun) / 1e9, (unsigned long long)(b->published - first),
        (double)cpu / 1e3 / (double)(b->published - first),
        (unsigned long long)load_proc_number(path, "Rss") * 1024);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"port", 1, NULL, 'p'}, {"pid", 1, NULL, 'P'},
        {"patterns", 1, NULL, 'n'}, {"matching", 1, NULL, 'm'}, {"topics", 1, NULL, 't'},
        {"payload", 1, NULL, 'b'}, {"named", 0, NULL, 'N'}, {NULL, 0, NULL, 0}};
    static struct bench b = {.topics = 1000000, .payload = 64};
    unsigned topics, inflight;
    double warmup, seconds;
    char line[128];
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'p')
            b.port = (uint16_t)load_number("--port", optarg, 1, 65535);
        else if (o == 'P')
            b.pid = (pid_t)load_number("--pid", optarg, 1, 1 << 30);
        else if (o == 'n')
            b.patterns = (unsigned)load_number("--patterns", optarg, 0, 1000000);
        else if (o == 'm')
            b.matching = (unsigned)load_number("--matching", optarg, 0, FAMILIES);
        else if (o == 't')
            b.topics = (unsigned)load_number("--topics", optarg, 1, 1000000);
        else if (o == 'b')
            b.payload = (unsigned)load_number("--payload", optarg, 24, ROOM);
        else if (o == 'N')
            b.named = true;
        else
            load_die("see the head of bench/patterns.c");
    }
    if (!b.port || !b.pid || optind != argc)
        load_die("patterns --port N --pid N [--patterns N] [--matching 0..10] [--topics 1000000] "
                 "[--payload 64] [--named]; cells on standard input");
    connect_all(&b);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        char *at;
        topics = (unsigned)strtoul(line, &at, 10);
        inflight = (unsigned)strtoul(at, &at, 10);
        warmup = strtod(at, &at);
        seconds = strtod(at, &at);
        if (*at != '\n' || topics < 1 || topics > b.topics || inflight < 1 || inflight > 10000)
            load_die("not a cell: %s", line);
        measure(&b, topics, inflight, warmup, seconds);
    }
    return 0;
}
