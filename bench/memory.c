/* Memory per connection: N connections to a server, and by how much its process grew.
 *
 * What is measured: /proc/PID/smaps_rollup before and after, divided by N.
 *  - rss: all resident memory of the process, the figure that counts here;
 *  - private: what is the process's own of it (Private_Clean + Private_Dirty);
 *  - anonymous: heap, stacks and the like without file pages.
 * The kernel's memory for the sockets is not in it: no server can change that.
 *
 * The base is taken after a warm-up (--warmup connections that do the same as the later ones, then
 * close, and are waited for), so that code and tables touched by the first connection are not
 * charged to the 15,000. The second reading is taken when every connection has its greeting and the
 * acknowledgement of its subscription; both wait until three readings in a row are equal. */
#define _GNU_SOURCE
#include "load.h"

#include <getopt.h>

struct reading {
    uint64_t rss, private, anonymous; /* KiB */
};

static struct reading reading_of(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", (long)pid);
    struct reading r = {load_proc_number(path, "Rss"),
        load_proc_number(path, "Private_Clean") + load_proc_number(path, "Private_Dirty"),
        load_proc_number(path, "Anonymous")};
    if (!r.rss)
        load_die("cannot read %s", path);
    return r;
}

/* Waits for three equal readings a tenth of a second apart, and settles for the last after 5 s. */
static struct reading reading_settled(pid_t pid)
{
    struct reading last = reading_of(pid);
    for (int i = 0, equal = 0; i < 50 && equal < 2; i++) {
        nanosleep(&(struct timespec){0, 100000000}, NULL);
        struct reading now = reading_of(pid);
        equal = memcmp(&now, &last, sizeof now) ? 0 : equal + 1;
        last = now;
    }
    return last;
}

static struct load_conn client_open(uint16_t port, const char *mode, unsigned index)
{
    struct load_conn c = load_open(port, index);
    char topic[64] = "shared:topic";
    if (strcmp(mode, "own") == 0)
        snprintf(topic, sizeof topic, "sensor:%06u", index);
    if (strcmp(mode, "idle") != 0)
        load_subscribe(&c, topic);
    free(c.bytes);
    c.bytes = NULL;
    c.have = c.cap = 0;
    return c;
}

/* Closes as a browser does, and waits until the server has let go. */
static void client_leave(struct load_conn *c)
{
    unsigned char frame[16];
    char answer[256];
    load_send_all(c->fd, frame, load_frame(frame, LOAD_CLOSE, "\x03\xe8", 2));
    shutdown(c->fd, SHUT_WR);
    while (recv(c->fd, answer, sizeof answer, 0) > 0)
        ;
    load_close(c);
}

static __attribute__((noreturn)) void usage(void)
{
    fprintf(stderr, "usage: memory --port N --pid N --mode idle|shared|own [--connections 15000]\n"
                    "              [--warmup 100]\n"
                    "Prints, as one line of JSON, the memory of the server on 127.0.0.1 per\n"
                    "connection: idle, subscribed to one shared topic, or each to its own.\n");
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"port", 1, NULL, 'p'}, {"pid", 1, NULL, 'P'},
        {"mode", 1, NULL, 'm'}, {"connections", 1, NULL, 'n'}, {"warmup", 1, NULL, 'w'},
        {NULL, 0, NULL, 0}};
    const char *mode = "";
    unsigned count = 15000, warmup = 100;
    uint16_t port = 0;
    pid_t pid = 0;

    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'p')
            port = (uint16_t)load_number("--port", optarg, 1, 65535);
        else if (o == 'P')
            pid = (pid_t)load_number("--pid", optarg, 1, 1 << 30);
        else if (o == 'm')
            mode = optarg;
        else if (o == 'n')
            count = (unsigned)load_number("--connections", optarg, 1, 900000);
        else if (o == 'w')
            warmup = (unsigned)load_number("--warmup", optarg, 0, 10000);
        else
            usage();
    }
    if (!port || !pid || optind != argc ||
        (strcmp(mode, "idle") != 0 && strcmp(mode, "shared") != 0 && strcmp(mode, "own") != 0))
        usage();
    load_want_descriptors((count > warmup ? count : warmup) + 16);

    struct load_conn *clients = calloc(count + warmup, sizeof *clients);
    if (!clients)
        load_die("no memory");
    for (unsigned i = 0; i < warmup; i++)
        clients[count + i] = client_open(port, mode, count + i);
    for (unsigned i = 0; i < warmup; i++)
        client_leave(&clients[count + i]);
    struct reading base = reading_settled(pid);
    for (unsigned i = 0; i < count; i++)
        clients[i] = client_open(port, mode, i);
    struct reading full = reading_settled(pid);

#define PER_CONNECTION(what) (((double)full.what - (double)base.what) * 1024 / count)
    printf("{\"mode\":\"%s\",\"connections\":%u,\"rss\":%.1f,\"private\":%.1f,\"anonymous\":%.1f,"
           "\"base_rss_kib\":%llu,\"full_rss_kib\":%llu}\n",
        mode, count, PER_CONNECTION(rss), PER_CONNECTION(private), PER_CONNECTION(anonymous),
        (unsigned long long)base.rss, (unsigned long long)full.rss);
    return 0;
}
