/* The floor of a cluster on Redis: a bare hiredis loop on each of two nodes.
 *
 * Node A, this process, PUBLISHes D messages by one write and the next D when Redis has answered
 * all of these; with C channels, D to each of them. Node B, a child, SUBSCRIBEs to the channels and
 * takes what comes, as much as one read brings at a time. Both block, which is what costs least: no
 * event loop, no timers, no second thread, and nobody's messages to take or to deliver. A payload
 * begins with its number and the moment of its sending, both binary, so that neither node formats
 * or reads any text but Redis's.
 *
 * Prints "ready", then measures a cell for each line "payload inflight warmup seconds [rate]" of
 * its standard input: as fast as it goes, or so many messages a second by a schedule. Processor
 * time is each node's own, taken when nothing is in flight. Latency is from just before the write
 * that publishes (at a rate: from the moment it was due, when the batch before came late) to the
 * moment in which node B has read it. Exit code 1: a message was lost, doubled or reordered.
 *
 * With --resubscribe N it prints instead how long one bare connection takes to SUBSCRIBE to N
 * channels, and waits for no line. */
#define _GNU_SOURCE
#include "load.h"
#include "load_latency.h"

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { CHANNEL_BYTES = 64, STAMP_BYTES = 16, WAVE = 1000, MAX_BATCH = 1 << 20 };

/* What the two nodes share. B writes it, A changes `counts` while nothing is in flight. */
struct shared {
    _Atomic uint64_t received;
    _Atomic uint64_t wrong;
    _Atomic bool counts;
    _Atomic bool subscribed;
    struct load_latency latency;
};

struct floor {
    uint16_t port;
    pid_t beside; /* Redis itself; 0: not told */
    const char *prefix;
    unsigned channel_count;
    char (*channels)[CHANNEL_BYTES];
    redisContext *redis;
    struct shared *shared;
    pid_t b;
    uint64_t sent;
};

struct cell {
    unsigned payload, inflight;
    double warmup, seconds, rate;
};

struct edge {
    uint64_t at, sent, cpu_a, cpu_b, cpu_redis;
};

static redisContext *redis_open(uint16_t port)
{
    struct timeval patience = {.tv_sec = LOAD_PATIENCE_SECONDS};
    redisContext *c = redisConnectWithTimeout("127.0.0.1", port, patience);
    int on = 1;
    if (!c || c->err)
        load_die("Redis on port %u: %s", port, c ? c->errstr : "no memory");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return c;
}

static redisReply *redis_wait(redisContext *c)
{
    void *reply = NULL;
    if (redisGetReply(c, &reply) != REDIS_OK || !reply)
        load_die("Redis: %s", c->errstr);
    return reply;
}

/* Appends the SUBSCRIBE of up to a wave's channels; returns how many. */
static unsigned subscribe_wave(const struct floor *f, redisContext *c, unsigned from)
{
    const char *words[WAVE + 1] = {"SUBSCRIBE"};
    unsigned count = 0;
    for (; count < WAVE && from + count < f->channel_count; count++)
        words[count + 1] = f->channels[from + count];
    if (redisAppendCommandArgv(c, (int)count + 1, words, NULL) != REDIS_OK)
        load_die("Redis: %s", c->errstr);
    return count;
}

static void subscribe_all(const struct floor *f, redisContext *c)
{
    for (unsigned at = 0; at < f->channel_count;)
        at += subscribe_wave(f, c, at);
    for (unsigned i = 0; i < f->channel_count; i++) {
        redisReply *reply = redis_wait(c);
        if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
            load_die("Redis: not the answer to a SUBSCRIBE");
        freeReplyObject(reply);
    }
}

/* ---- node B ---- */

static void take(struct shared *s, const redisReply *reply, uint64_t now, uint64_t *next)
{
    uint64_t number = 0, stamp = 0;
    bool whole = reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 &&
                 reply->element[2]->type == REDIS_REPLY_STRING &&
                 (size_t)reply->element[2]->len >= STAMP_BYTES;
    if (whole) {
        memcpy(&number, reply->element[2]->str, sizeof number);
        memcpy(&stamp, reply->element[2]->str + sizeof number, sizeof stamp);
    }
    if (!whole || number != *next)
        atomic_fetch_add_explicit(&s->wrong, 1, memory_order_relaxed);
    *next = number + 1;
    if (atomic_load_explicit(&s->counts, memory_order_relaxed))
        load_latency_add(&s->latency, now - stamp);
}

static __attribute__((noreturn)) void node_b(struct floor *f)
{
    redisContext *c = redis_open(f->port);
    struct timeval forever = {0};
    uint64_t next = 0, received = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    subscribe_all(f, c);
    redisSetTimeout(c, forever);
    atomic_store(&f->shared->subscribed, true);
    for (;;) {
        if (redisBufferRead(c) != REDIS_OK)
            load_die("node B: %s", c->errstr);
        uint64_t now = load_now_ns();
        for (void *reply;;) {
            if (redisReaderGetReply(c->reader, &reply) != REDIS_OK)
                load_die("node B: %s", c->reader->errstr);
            if (!reply)
                break;
            take(f->shared, reply, now, &next);
            freeReplyObject(reply);
            received++;
        }
        atomic_store_explicit(&f->shared->received, received, memory_order_release);
    }
}

static void await_b(const struct floor *f)
{
    uint64_t give_up = load_now_ns() + LOAD_PATIENCE_SECONDS * 1000000000ull;
    while (atomic_load_explicit(&f->shared->received, memory_order_acquire) < f->sent) {
        if (load_now_ns() > give_up || waitpid(f->b, NULL, WNOHANG))
            load_die("%llu messages did not come to node B",
                (unsigned long long)(f->sent - atomic_load(&f->shared->received)));
        usleep(200);
    }
}

/* ---- node A ---- */

static void publish(struct floor *f, const struct cell *cell, char *payload, uint64_t stamp)
{
    size_t lens[3] = {strlen("PUBLISH"), 0, cell->payload};
    const char *words[3] = {"PUBLISH", NULL, payload};
    memcpy(payload + sizeof f->sent, &stamp, sizeof stamp);
    for (unsigned i = 0; i < cell->inflight; i++)
        for (unsigned c = 0; c < f->channel_count; c++) {
            words[1] = f->channels[c];
            lens[1] = strlen(words[1]);
            memcpy(payload, &f->sent, sizeof f->sent);
            f->sent++;
            if (redisAppendCommandArgv(f->redis, 3, words, lens) != REDIS_OK)
                load_die("node A: %s", f->redis->errstr);
        }
    for (unsigned i = 0; i < cell->inflight * f->channel_count; i++) {
        redisReply *reply = redis_wait(f->redis);
        if (reply->type != REDIS_REPLY_INTEGER || reply->integer != 1)
            load_die("node A: a PUBLISH was answered by %s, not by one receiver",
                reply->type == REDIS_REPLY_ERROR ? reply->str : "another number");
        freeReplyObject(reply);
    }
}

/* When the next batch is due: it is sent then, or at once when that is over. Who comes late by
 * itself is not the server's fault, who waited for an answer is. */
static uint64_t wait_until(uint64_t due)
{
    uint64_t now = load_now_ns();
    struct timespec at = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
    if (now >= due)
        return due;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    return load_now_ns();
}

static void busy(struct floor *f, const struct cell *cell, char *payload, double seconds)
{
    uint64_t now = load_now_ns(), end = now + (uint64_t)(seconds * 1e9), due = now, step = 0;
    if (cell->rate > 0)
        step = (uint64_t)(1e9 * cell->inflight * f->channel_count / cell->rate);
    do {
        uint64_t stamp = step ? wait_until(due) : load_now_ns();
        publish(f, cell, payload, stamp);
        due += step;
    } while (load_now_ns() < end);
}

static struct edge edge_read(const struct floor *f)
{
    struct edge e = {.cpu_a = load_own_cpu_ns(), .at = load_now_ns(), .sent = f->sent};
    await_b(f);
    e.cpu_b = load_cpu_ns(f->b);
    e.cpu_redis = f->beside ? load_cpu_ns(f->beside) : 0;
    return e;
}

static void measure(struct floor *f, const struct cell *cell)
{
    struct shared *s = f->shared;
    char *payload = malloc(cell->payload);
    if (!payload)
        load_die("no memory");
    memset(payload, 'x', cell->payload);
    busy(f, cell, payload, cell->warmup);
    await_b(f);
    memset(&s->latency, 0, sizeof s->latency);
    atomic_store(&s->counts, true);
    struct edge first = edge_read(f);
    busy(f, cell, payload, cell->seconds);
    struct edge last = edge_read(f);
    atomic_store(&s->counts, false);
    free(payload);

    double messages = (double)(last.sent - first.sent);
    double a = (double)(last.cpu_a - first.cpu_a) / 1e3 / messages;
    double b = (double)(last.cpu_b - first.cpu_b) / 1e3 / messages;
    printf("{\"channels\":%u,\"payload\":%u,\"inflight\":%u,\"rate\":%.0f,\"seconds\":%.3f,"
           "\"messages\":%.0f,\"cpu_us_per_message\":%.4f,\"node_a_us\":%.4f,\"node_b_us\":%.4f,",
        f->channel_count, cell->payload, cell->inflight, cell->rate,
        (double)(last.at - first.at) / 1e9, messages, a + b, a, b);
    printf("\"beside_us_per_message\":%.4f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,"
           "\"wrong\":%llu}\n",
        (double)(last.cpu_redis - first.cpu_redis) / 1e3 / messages,
        load_latency_at(&s->latency, .5), load_latency_at(&s->latency, .99),
        load_latency_at(&s->latency, .999), (unsigned long long)atomic_load(&s->wrong));
    fflush(stdout);
}

/* ---- both ---- */

static void resubscribe(struct floor *f)
{
    redisContext *c = redis_open(f->port);
    uint64_t begun = load_now_ns(), cpu = load_own_cpu_ns();
    subscribe_all(f, c);
    printf("{\"channels\":%u,\"seconds\":%.4f,\"cpu_us_per_channel\":%.4f}\n", f->channel_count,
        (double)(load_now_ns() - begun) / 1e9,
        (double)(load_own_cpu_ns() - cpu) / 1e3 / f->channel_count);
    redisFree(c);
}

static bool cell_read(const char *line, struct cell *cell)
{
    char *at;
    cell->payload = (unsigned)strtoul(line, &at, 10);
    cell->inflight = (unsigned)strtoul(at, &at, 10);
    cell->warmup = strtod(at, &at);
    cell->seconds = strtod(at, &at);
    cell->rate = *at == '\n' ? 0 : strtod(at, &at);
    return *at == '\n' && cell->payload >= STAMP_BYTES && cell->payload <= 1 << 20 &&
           cell->inflight >= 1 && cell->inflight <= MAX_BATCH && cell->rate >= 0;
}

static void name_all(struct floor *f)
{
    if (!(f->channels = calloc(f->channel_count, sizeof *f->channels)))
        load_die("no memory");
    for (unsigned i = 0; i < f->channel_count; i++)
        snprintf(f->channels[i], sizeof f->channels[i], "%s%05u", f->prefix, i);
}

static int floor_run(struct floor *f)
{
    struct cell cell;
    char line[128];
    f->shared =
        mmap(NULL, sizeof *f->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (f->shared == MAP_FAILED)
        load_die("no memory");
    prctl(PR_SET_TIMERSLACK, 1);
    if ((f->b = fork()) < 0)
        load_die("fork: %s", strerror(errno));
    if (f->b == 0)
        node_b(f);
    f->redis = redis_open(f->port);
    while (!atomic_load(&f->shared->subscribed)) {
        if (waitpid(f->b, NULL, WNOHANG))
            load_die("node B has ended");
        usleep(1000);
    }
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (!cell_read(line, &cell))
            load_die("not a cell: %s", line);
        measure(f, &cell);
        if (atomic_load(&f->shared->wrong))
            break;
    }
    kill(f->b, SIGKILL);
    waitpid(f->b, NULL, 0);
    return atomic_load(&f->shared->wrong) ? 1 : 0;
}

int main(int argc, char **argv)
{
    static struct floor f = {.prefix = "floor-", .channel_count = 1};
    bool subscribes = false;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0)
            f.port = (uint16_t)load_number("--port", argv[i + 1], 1, 65535);
        else if (strcmp(argv[i], "--beside") == 0)
            f.beside = (pid_t)load_number("--beside", argv[i + 1], 1, 1 << 30);
        else if (strcmp(argv[i], "--channels") == 0)
            f.channel_count = (unsigned)load_number("--channels", argv[i + 1], 1, 10000);
        else if (strcmp(argv[i], "--prefix") == 0 && strlen(argv[i + 1]) < CHANNEL_BYTES - 16)
            f.prefix = argv[i + 1];
        else if ((subscribes = strcmp(argv[i], "--resubscribe") == 0))
            f.channel_count = (unsigned)load_number("--resubscribe", argv[i + 1], 1, 10000000);
        else
            load_die("see the head of bench/redis_floor.c");
    }
    if (!f.port || argc % 2 == 0)
        load_die("redis_floor --port N [--beside PID] [--channels 1] [--prefix floor-]; cells on "
                 "standard input; or --resubscribe N");
    name_all(&f);
    if (!subscribes)
        return floor_run(&f);
    resubscribe(&f);
    return 0;
}
