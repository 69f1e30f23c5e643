/* The saturating generator: as fast as a bounded window lets it, and every delivery checked.
 *
 * What is published by whom and to whom: plan.c. How it is paced and measured: run.c. What is
 * checked: check.c. The servers it can speak to: a file for each dialect. The memory that
 * connections cost: memory.c. It parses no more than it has to, since it shares the machine with
 * the server it measures. Exit code 1: a message was lost, doubled, reordered or damaged; 2: the
 * run could not be made. */
#define _GNU_SOURCE
#include "saturate.h"

#include <getopt.h>

static const char *const modes[] = {"fanout", "pairs", "topics", "idle", "shared", "own"};
enum { FIRST_MEMORY = 3, MODES = sizeof modes / sizeof *modes };

static __attribute__((noreturn)) void usage(void)
{
    fprintf(stderr,
        "usage: saturate MODE --port N --pid N[,N...] [--publish-port N] [--beside N] [--tls]\n"
        "                [--dialect level1|level2|nchan|mqtt|nats] ...\n"
        "  fanout  [--subscribers 1000] [--publishers 1]\n"
        "  pairs   [--pairs 100]\n"
        "  topics  [--topics 10000] [--subscribers 5000] [--each 10] [--publishers 4]\n"
        "          [--payload 256] [--inflight 32] [--warmup 0.3] [--seconds 2] [--commands]\n"
        "          [--prefix bench-]\n"
        "  idle, shared, own   [--connections 15000] [--warmup 100]\n"
        "Saturates a server on 127.0.0.1 and prints, as one line of JSON, the processor time of\n"
        "those processes per delivery and per message. With --commands it connects, prints\n"
        "\"ready\", and measures one cell per line \"payload inflight warmup seconds\" of its\n"
        "standard input; a fifth number is a rate, of messages a second. Publishers connect to\n"
        "--publish-port, if it is another node's; the time of process --beside is told by itself.\n"
        "The last three modes print the memory that a connection costs: idle,\n"
        "subscribed to one shared topic, or each to its own.\n"
        "Exit code 1: a message was lost, doubled, reordered or damaged.\n");
    exit(2);
}

/* "payload inflight warmup seconds", and perhaps a rate */
static bool cell_read(const char *line, struct cell *cell)
{
    char *at;
    cell->payload = (int)strtol(line, &at, 10);
    cell->inflight = (int)strtol(at, &at, 10);
    cell->warmup = strtod(at, &at);
    cell->seconds = strtod(at, &at);
    cell->rate = *at == '\n' ? 0 : strtod(at, &at);
    return *at == '\n' && cell->rate >= 0 && cell->payload >= MIN_PAYLOAD &&
           cell->payload <= MAX_PAYLOAD && cell->inflight >= 1;
}

static const struct dialect *dialect_find(const char *name)
{
    static const struct dialect *const all[] = {
        &dialect_level1, &dialect_level2, &dialect_nchan, &dialect_mqtt, &dialect_nats};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    usage();
}

static void pids_read(struct load *l, const char *text)
{
    for (char *end; *text; text = *end ? end + 1 : end) {
        long pid = strtol(text, &end, 10);
        if (end == text || pid < 1 || (*end && *end != ',') || l->pid_count == MAX_PIDS)
            load_die("--pid: up to %d process ids with commas between them", MAX_PIDS);
        l->pids[l->pid_count++] = (pid_t)pid;
    }
}

static uint32_t count_read(const char *option, const char *text, long max)
{
    return (uint32_t)load_number(option, text, 1, max);
}

/* What stands before the number in all topics' names. */
static const char *prefix_read(const char *text)
{
    if (strlen(text) > TOPIC_BYTES - 8 || strpbrk(text, "\"\\"))
        load_die("--prefix: up to %d bytes without quotes and backslashes", TOPIC_BYTES - 8);
    return text;
}

static int saturate(struct load *l, struct cell *cell, bool commands)
{
    char line[128];
    bool good = true;

    if (l->dialect->one_topic_a_publisher && l->mode == MODE_TOPICS)
        load_die("%s: a publisher there has one topic", l->dialect->name);
    load_want_descriptors((size_t)l->subscriber_count + l->publisher_count + 16);
    load_plan(l);
    load_connect(l);
    if (!commands)
        return load_run(l, cell) ? 0 : 1;
    puts("ready");
    fflush(stdout);
    while (good && fgets(line, sizeof line, stdin)) {
        if (!cell_read(line, cell))
            load_die("not a cell: %s", line);
        good = load_run(l, cell);
    }
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"port", 1, NULL, 'p'}, {"pid", 1, NULL, 'P'},
        {"dialect", 1, NULL, 'D'}, {"subscribers", 1, NULL, 's'}, {"publishers", 1, NULL, 'n'},
        {"pairs", 1, NULL, 'a'}, {"topics", 1, NULL, 'T'}, {"prefix", 1, NULL, 'x'},
        {"each", 1, NULL, 'k'}, {"payload", 1, NULL, 'b'}, {"inflight", 1, NULL, 'd'},
        {"warmup", 1, NULL, 'w'}, {"seconds", 1, NULL, 't'}, {"connections", 1, NULL, 'N'},
        {"commands", 0, NULL, 'c'}, {"tls", 0, NULL, 'S'}, {"publish-port", 1, NULL, 'u'},
        {"beside", 1, NULL, 'B'}, {NULL, 0, NULL, 0}};
    static struct load l = {
        .dialect = &dialect_level1, .prefix = "bench-", .topic_count = 10000, .slot_count = 10};
    struct cell cell = {256, 32, 0.3, 2, 0};
    uint32_t pairs = 100, connections = 15000;
    const char *warmup = NULL;
    bool commands = false;
    int mode = 0;

    while (mode < MODES && (argc < 2 || strcmp(argv[1], modes[mode]) != 0))
        mode++;
    if (mode == MODES)
        usage();
    for (int o; (o = getopt_long(argc - 1, argv + 1, "", options, NULL)) != -1;) {
        if (o == 'p')
            l.port = (uint16_t)load_number("--port", optarg, 1, 65535);
        else if (o == 'u')
            l.publish_port = (uint16_t)load_number("--publish-port", optarg, 1, 65535);
        else if (o == 'B')
            l.beside = (pid_t)load_number("--beside", optarg, 1, 1 << 30);
        else if (o == 'P')
            pids_read(&l, optarg);
        else if (o == 'D')
            l.dialect = dialect_find(optarg);
        else if (o == 's')
            l.subscriber_count = count_read("--subscribers", optarg, 1000000);
        else if (o == 'n')
            l.publisher_count = count_read("--publishers", optarg, 1000);
        else if (o == 'a')
            pairs = count_read("--pairs", optarg, 60000);
        else if (o == 'T')
            l.topic_count = count_read("--topics", optarg, 1000000);
        else if (o == 'x')
            l.prefix = prefix_read(optarg);
        else if (o == 'k')
            l.slot_count = count_read("--each", optarg, MAX_TOPICS_EACH);
        else if (o == 'b')
            cell.payload = (int)load_number("--payload", optarg, MIN_PAYLOAD, MAX_PAYLOAD);
        else if (o == 'd')
            cell.inflight = (int)load_number("--inflight", optarg, 1, 100000);
        else if (o == 'w')
            warmup = optarg;
        else if (o == 't')
            cell.seconds = strtod(optarg, NULL);
        else if (o == 'N')
            connections = count_read("--connections", optarg, 900000);
        else if (o == 'c')
            commands = true;
        else if (o == 'S')
            l.tls = load_tls_new();
        else
            usage();
    }
    if (!l.port || !l.pid_count || optind != argc - 1)
        usage();
    if (!l.publish_port)
        l.publish_port = l.port;
    if (mode >= FIRST_MEMORY) {
        uint32_t first = warmup ? (uint32_t)load_number("--warmup", warmup, 0, 10000) : 100;
        if (mode == FIRST_MEMORY && !l.dialect->subscribe)
            load_die("%s: every connection there has a topic", l.dialect->name);
        load_want_descriptors((size_t)connections + first + 16);
        load_memory(&l, modes[mode], connections, first);
        return 0;
    }
    if (warmup)
        cell.warmup = strtod(warmup, NULL);
    l.mode = (enum mode)mode;
    if (l.mode == MODE_PAIRS)
        l.topic_count = l.subscriber_count = l.publisher_count = pairs;
    if (l.mode == MODE_FANOUT)
        l.topic_count = 1;
    if (l.mode != MODE_TOPICS)
        l.slot_count = 1;
    if (!l.subscriber_count)
        l.subscriber_count = l.mode == MODE_TOPICS ? 5000 : 1000;
    if (!l.publisher_count)
        l.publisher_count = l.mode == MODE_TOPICS ? 4 : 1;
    if (l.slot_count > l.topic_count)
        load_die("--each: there are only %u topics", l.topic_count);
    return saturate(&l, &cell, commands);
}
