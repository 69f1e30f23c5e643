/* Memory per connection: N connections to a server, and by how much its processes grew.
 *
 * What is measured: /proc/PID/smaps_rollup before and after, divided by N.
 *  - rss: all resident memory of the processes, the figure that counts here;
 *  - private: what is their own of it (Private_Clean + Private_Dirty);
 *  - anonymous: heap, stacks and the like without file pages.
 * The kernel's memory for the sockets is not in it: no server can change that.
 *
 * The base is taken after a warm-up (--warmup connections that do the same as the later ones, then
 * close, and are waited for), so that code and tables touched by the first connection are not
 * charged to the 15,000. The second reading is taken when every connection has its greeting and the
 * acknowledgement of its subscription; both wait until three readings in a row are equal. */
#define _GNU_SOURCE
#include "saturate.h"

struct reading {
    uint64_t rss, private, anonymous; /* KiB */
};

static struct reading reading_of(const struct load *l)
{
    struct reading r = {0};
    for (int i = 0; i < l->pid_count; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", (long)l->pids[i]);
        r.rss += load_proc_number(path, "Rss");
        r.private += load_proc_number(path, "Private_Clean");
        r.private += load_proc_number(path, "Private_Dirty");
        r.anonymous += load_proc_number(path, "Anonymous");
    }
    if (!r.rss)
        load_die("cannot read the memory of process %ld", (long)l->pids[0]);
    return r;
}

/* Waits for three equal readings a tenth of a second apart, and settles for the last after 5 s. */
static struct reading reading_settled(const struct load *l)
{
    struct reading last = reading_of(l);
    for (int i = 0, equal = 0; i < 50 && equal < 2; i++) {
        nanosleep(&(struct timespec){0, 100000000}, NULL);
        struct reading now = reading_of(l);
        equal = memcmp(&now, &last, sizeof now) ? 0 : equal + 1;
        last = now;
    }
    return last;
}

static void clients_open(
    const struct load *l, const char *mode, struct conn *clients, unsigned first, unsigned count)
{
    struct opening *openings = calloc(count, sizeof *openings);
    char(*names)[TOPIC_BYTES] = calloc(count, TOPIC_BYTES);
    const char **topics = calloc(count, sizeof *topics);
    if (count && (!openings || !names || !topics))
        load_die("no memory");
    for (unsigned i = 0; i < count; i++) {
        snprintf(
            names[i], TOPIC_BYTES, "sensor-%06u", strcmp(mode, "own") == 0 ? first + i : 1000000);
        topics[i] = names[i];
        openings[i] = (struct opening){
            &clients[i], l->port, "sub", &topics[i], strcmp(mode, "idle") != 0, first + i, 0};
    }
    conn_open_all(l, openings, count);
    for (unsigned i = 0; i < count; i++) {
        free(clients[i].rest.bytes);
        clients[i].rest.bytes = NULL;
        clients[i].rest.have = clients[i].rest.cap = 0;
    }
    free(openings);
    free(names);
    free(topics);
}

/* Closes as a browser does, and waits until the server has let go. */
static void client_leave(struct conn *c)
{
    unsigned char frame[16];
    char answer[256];
    load_send_all(&c->rest, frame, load_frame(frame, LOAD_CLOSE, "\x03\xe8", 2));
    shutdown(c->rest.fd, SHUT_WR);
    while (load_receive(&c->rest, answer, sizeof answer) > 0)
        ;
    conn_close(c);
}

void load_memory(const struct load *l, const char *mode, unsigned count, unsigned warmup)
{
    struct conn *clients = calloc(count + warmup, sizeof *clients);
    if (!clients)
        load_die("no memory");
    clients_open(l, mode, clients + count, count, warmup);
    for (unsigned i = 0; i < warmup; i++)
        client_leave(&clients[count + i]);
    struct reading base = reading_settled(l);
    clients_open(l, mode, clients, 0, count);
    struct reading full = reading_settled(l);

#define PER_CONNECTION(what) (((double)full.what - (double)base.what) * 1024 / count)
    printf("{\"mode\":\"%s\",\"dialect\":\"%s\",\"connections\":%u,\"rss\":%.1f,\"private\":%.1f,"
           "\"anonymous\":%.1f,\"base_rss_kib\":%llu,\"full_rss_kib\":%llu}\n",
        mode, l->dialect->name, count, PER_CONNECTION(rss), PER_CONNECTION(private),
        PER_CONNECTION(anonymous), (unsigned long long)base.rss, (unsigned long long)full.rss);
    free(clients);
}
