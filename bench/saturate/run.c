/* A cell: publishers kept busy by a bounded window, and the server's processor time meanwhile.
 *
 * A publisher sends D messages by one write, so that the server finds them as a batch, and the next
 * D when all deliveries of these have come: never more than D of a publisher's messages are in
 * flight. Between a warm-up and the end lies the time in which the server's processor time is read
 * at both edges. At an edge no publisher goes on until all batches are complete, so that nothing is
 * in flight when it is read. Latency is from just before the write of a batch to the read that
 * brings a delivery of it. With a rate, publishers send by a schedule instead: pace.c. */
#define _GNU_SOURCE
#include "saturate.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

enum { EVENTS = 1024, LEAST_BATCHES = 2, WARMING_BATCHES = 1, LATE_MS = 5 };
#define TIMER UINT64_MAX /* among the epoll's events */

struct edge {
    uint64_t at, cpu, own_cpu, beside, softirq, switches, deliveries, messages;
};

/* The kernel's threads that take over when there is much for sockets to receive. Their time is
 * nobody's, and how much of a server's work they do depends on how it sends. */
static void softirq_find(struct load *l)
{
    DIR *processes = opendir("/proc");
    for (struct dirent *d; processes && (d = readdir(processes));) {
        char path[320], name[32] = "";
        if (d->d_name[0] < '0' || d->d_name[0] > '9' || l->softirq_count == MAX_PROCESSORS)
            continue;
        snprintf(path, sizeof path, "/proc/%s/comm", d->d_name);
        FILE *comm = fopen(path, "re");
        if (comm && fgets(name, sizeof name, comm) && strncmp(name, "ksoftirqd/", 10) == 0)
            l->softirqs[l->softirq_count++] = (pid_t)strtol(d->d_name, NULL, 10);
        if (comm)
            fclose(comm);
    }
    if (processes)
        closedir(processes);
}

static uint64_t softirq_ns(const struct load *l)
{
    uint64_t sum = 0;
    for (int i = 0; i < l->softirq_count; i++) {
        char path[64], line[128];
        snprintf(path, sizeof path, "/proc/%ld/schedstat", (long)l->softirqs[i]);
        FILE *file = fopen(path, "re");
        if (file && fgets(line, sizeof line, file))
            sum += strtoull(line, NULL, 10);
        if (file)
            fclose(file);
    }
    return sum;
}

static struct edge load_edge(const struct load *l)
{
    struct edge e = {.at = load_now_ns(),
        .own_cpu = load_own_cpu_ns(),
        .beside = l->beside ? load_cpu_ns(l->beside) : 0,
        .softirq = softirq_ns(l),
        .deliveries = l->deliveries,
        .messages = l->messages};
    for (int i = 0; i < l->pid_count; i++) {
        e.cpu += load_cpu_ns(l->pids[i]);
        e.switches += load_voluntary_switches(l->pids[i]);
    }
    return e;
}

static void publisher_write(struct load *l, struct publisher *p)
{
    while (p->out_at < p->out_len) {
        ssize_t n = load_send(&p->conn.rest, p->out + p->out_at, p->out_len - p->out_at);
        if (n < 0 && errno != EAGAIN)
            load_die("publisher: %s", strerror(errno));
        if (n < 0)
            break;
        p->out_at += (size_t)n;
    }
    bool waits = p->out_at < p->out_len;
    if (waits != p->waits_to_write) {
        struct epoll_event e = {.events = waits ? EPOLLIN | EPOLLOUT : EPOLLIN,
            .data.u64 = l->subscriber_count + (uint64_t)(p - l->publishers)};
        p->waits_to_write = waits;
        epoll_ctl(l->epoll, EPOLL_CTL_MOD, p->conn.rest.fd, &e);
    }
}

/* Topics without subscribers owe nothing and fill no window. */
void publisher_send(struct load *l, struct publisher *p)
{
    unsigned char item[MAX_PAYLOAD + 256];
    p->stamp = p->late ? p->due : load_now_ns();
    p->late = false;
    do {
        p->out_len = p->out_at = 0;
        for (int i = 0; i < l->cell->inflight; i++) {
            uint32_t topic = publisher_topic(l, p, p->sent);
            payload_number(l->payload, (uint32_t)(p - l->publishers), p->sent++);
            size_t len =
                l->dialect->publish(item, l->names[topic], l->payload, (size_t)l->cell->payload);
            p->out_len += load_frame(p->out + p->out_len, l->dialect->opcode, item, len);
            p->owed += l->subscribers_of[topic];
        }
        l->messages += (uint64_t)l->cell->inflight;
        publisher_write(l, p);
        if (!p->owed && p->waits_to_write)
            load_die("the server does not read what it has no subscribers for");
    } while (!p->owed);
}

/* One epoll round; false when nothing came for that long. */
static bool load_round(struct load *l, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(l->epoll, events, EVENTS, timeout_ms);
    for (int i = 0; i < n; i++) {
        uint64_t index = events[i].data.u64, rings;
        if (index == TIMER) {
            (void)!read(l->timer, &rings, sizeof rings);
            continue;
        }
        if (index < l->subscriber_count) {
            struct subscriber *s = &l->subscribers[index];
            conn_read(l, &s->conn, s);
            continue;
        }
        struct publisher *p = &l->publishers[index - l->subscriber_count];
        if (events[i].events & EPOLLOUT)
            publisher_write(l, p);
        if (events[i].events & ~(uint32_t)EPOLLOUT)
            conn_read(l, &p->conn, NULL);
    }
    return n > 0;
}

/* Keeps all publishers going until `until`, then waits until all is delivered; they do `least`
 * batches each at least, on average. False: stalled. */
static bool load_busy(struct load *l, uint64_t until, uint64_t least)
{
    bool stop = false;
    uint64_t batches = 0;
    if (l->cell->rate > 0)
        pace_start(l);
    for (uint32_t i = 0; l->cell->rate <= 0 && i < l->publisher_count; i++)
        publisher_send(l, &l->publishers[i]);
    for (uint32_t running = l->publisher_count; running;) {
        if (!load_round(l, LOAD_PATIENCE_SECONDS * 1000))
            return false;
        batches += l->idle_count;
        stop = stop || (batches >= least * l->publisher_count && load_now_ns() >= until);
        /* What goes on here is complete again in a later round at the earliest. */
        for (uint32_t i = 0; i < l->idle_count; i++) {
            if (stop)
                running--;
            else if (!pace_waits(l, l->idle[i]))
                publisher_send(l, l->idle[i]);
        }
        l->idle_count = 0;
        if (stop)
            running -= pace_stop(l);
        else if (l->cell->rate > 0)
            pace_send(l);
    }
    return true;
}

static void load_print(const struct load *l, const struct edge *first, const struct edge *last)
{
    static const char *const modes[] = {"fanout", "pairs", "topics"};
    const struct faults *f = &l->faults;
    double deliveries = (double)(last->deliveries - first->deliveries);
    double messages = (double)(last->messages - first->messages);
    double wall = (double)(last->at - first->at) / 1e9;
    double cpu_us = (double)(last->cpu - first->cpu) / 1e3;

    printf(
        "{\"mode\":\"%s\",\"dialect\":\"%s\",\"topics\":%u,\"subscribers\":%u,\"topics_each\":%u,"
        "\"publishers\":%u,\"payload\":%d,\"inflight\":%d,\"seconds\":%.3f,"
        "\"messages\":%.0f,\"deliveries\":%.0f,",
        modes[l->mode], l->dialect->name, l->topic_count, l->subscriber_count, l->slot_count,
        l->publisher_count, l->cell->payload, l->cell->inflight, wall, messages, deliveries);
    printf("\"cpu_us_per_delivery\":%.4f,\"cpu_us_per_message\":%.4f,"
           "\"ksoftirqd_us_per_delivery\":%.4f,"
           "\"deliveries_per_second\":%.0f,\"server_cpu\":%.3f,\"generator_cpu\":%.3f,"
           "\"voluntary_switches_per_second\":%.0f,",
        cpu_us / deliveries, cpu_us / messages,
        (double)(last->softirq - first->softirq) / 1e3 / deliveries, deliveries / wall,
        cpu_us / 1e6 / wall, (double)(last->own_cpu - first->own_cpu) / 1e9 / wall,
        (double)(last->switches - first->switches) / wall);
    printf("\"beside_us_per_message\":%.4f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,",
        (double)(last->beside - first->beside) / 1e3 / messages, load_latency_at(&l->latency, .5),
        load_latency_at(&l->latency, .99), load_latency_at(&l->latency, .999));
    printf("\"lost\":%llu,\"doubled\":%llu,\"reordered\":%llu,\"damaged\":%llu,"
           "\"disordered_subscribers\":%llu,\"misnumbered\":%llu,\"stalled\":%s}\n",
        (unsigned long long)f->lost, (unsigned long long)f->doubled,
        (unsigned long long)f->reordered, (unsigned long long)f->damaged,
        (unsigned long long)f->disordered, (unsigned long long)f->misnumbered,
        l->stalled ? "true" : "false");
    fflush(stdout);
}

bool load_run(struct load *l, const struct cell *cell)
{
    const struct faults *f = &l->faults;
    struct edge first = {0}, last = {0};

    l->cell = cell;
    l->faults = (struct faults){0};
    payload_fill(l);
    for (uint32_t i = 0; i < l->publisher_count; i++) {
        struct publisher *p = &l->publishers[i];
        p->out = realloc(p->out, (size_t)cell->inflight * ((size_t)cell->payload + 128));
        if (!p->out)
            load_die("no memory");
    }
    l->stalled = !load_busy(l, load_now_ns() + (uint64_t)(cell->warmup * 1e9), WARMING_BATCHES);
    memset(&l->latency, 0, sizeof l->latency);
    first = load_edge(l);
    l->stalled =
        l->stalled || !load_busy(l, first.at + (uint64_t)(cell->seconds * 1e9), LEAST_BATCHES);
    last = load_edge(l);
    while (!l->stalled && load_round(l, LATE_MS)) /* what came twice comes late */
        ;
    load_settle(l);
    load_print(l, &first, &last);
    return !(f->lost | f->doubled | f->reordered | f->damaged | f->disordered | f->misnumbered) &&
           !l->stalled;
}

static void load_join(const struct load *l, const struct conn *c, uint64_t index)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = index};
    fcntl(c->rest.fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->rest.fd, &e))
        load_die("epoll_ctl: %s", strerror(errno));
}

void load_connect(struct load *l)
{
    size_t count = (size_t)l->subscriber_count + l->publisher_count;
    size_t slots = (size_t)l->subscriber_count * l->slot_count + l->publisher_count;
    struct opening *openings = calloc(count, sizeof *openings), *o = openings;
    const char **topics = calloc(slots, sizeof *topics), **topic = topics;

    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->in = malloc(READ_BYTES);
    softirq_find(l);
    l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (l->epoll < 0 || l->timer < 0 || !l->in || !openings || !topics)
        load_die("no memory");
    struct epoll_event ring = {.events = EPOLLIN, .data.u64 = TIMER};
    epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->timer, &ring);
    for (uint32_t i = 0; i < l->subscriber_count; i++, o++) {
        struct subscriber *s = &l->subscribers[i];
        *o = (struct opening){&s->conn, l->port, "sub", topic, l->slot_count, i, 0};
        for (uint32_t k = 0; k < l->slot_count; k++)
            *topic++ = l->names[s->slots[k].topic];
    }
    for (uint32_t i = 0; i < l->publisher_count; i++, o++) {
        struct publisher *p = &l->publishers[i];
        *o = (struct opening){&p->conn, l->publish_port, "pub", topic, 0, i, 0};
        *topic++ = l->names[publisher_topic(l, p, 0)];
    }
    conn_open_all(l, openings, count);
    for (size_t i = 0; i < count; i++)
        load_join(l, openings[i].conn, i);
    for (uint32_t i = 0; i < l->publisher_count; i++) {
        int bytes = 4 << 20;
        setsockopt(l->publishers[i].conn.rest.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    }
    free(openings);
    free(topics);
}
