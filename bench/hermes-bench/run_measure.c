#include <stdlib.h>
#include <time.h>

#include "memory.h"
#include "run.h"

/* The kernel's peak is of the process's whole life: it says something when it rose since. */
void run_note_peak(struct run *run, const struct process_reading *server)
{
    uint64_t peak = server->rss_peak > run->peak_before ? server->rss_peak : server->rss;
    if (peak > run->report->server.rss_peak)
        run->report->server.rss_peak = peak;
}

static void read_cpu(struct lane *lane, void *user)
{
    uint64_t *cpu = user;
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    cpu[lane->index] = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void run_begin(struct run *run)
{
    run_collect(run, true);
    tally_clear(run->measured);
    fleet_call(&run->fleet, read_cpu, run->lane_cpu);
    machine_read(&run->machine_begun);
    if (run->report->server.known)
        process_read((long)run->o->pid, &run->server_begun);
    run->measuring = true;
    run->draining = false;
    run->begun = uv_hrtime();
    if (run->zero == 0)
        run->zero = run->begun;
}

void run_end(struct run *run, double seconds)
{
    struct report *r = run->report;
    struct process_reading server;
    struct machine_reading machine;
    double took = (double)(uv_hrtime() - run->begun) / 1e9;
    if (r->server.known && process_read((long)run->o->pid, &server)) {
        r->server.cpu = server.cpu - run->server_begun.cpu;
        r->server.rss_after = server.rss;
        run_note_peak(run, &server);
    } else if (r->server.known && !r->server.gone) {
        r->server.gone = true;
        report_note(r, "The server's process %ld was gone before the end: %s.", r->server.pid,
            "what it took is not known");
    }
    uint64_t *cpu = memory_new(run->fleet.count, sizeof *cpu);
    fleet_call(&run->fleet, read_cpu, cpu);
    r->tool.cpu = 0;
    r->tool.busiest = 0;
    for (unsigned i = 0; i < run->fleet.count; i++) {
        uint64_t used = cpu[i] - run->lane_cpu[i];
        double share = (double)used / 1e9 / took;
        r->tool.cpu += used;
        if (share > r->tool.busiest)
            r->tool.busiest = share;
    }
    free(cpu);
    if (machine_read(&machine) && machine.all > run->machine_begun.all)
        r->tool.machine = (double)(machine.busy - run->machine_begun.busy) /
                          (double)(machine.all - run->machine_begun.all);
    run_collect(run, true);
    run->measuring = false;
    const struct tally *m = run->measured;
    r->seconds = seconds > 0 ? seconds : took;
    r->published = m->published;
    r->deliveries = m->deliveries;
    r->delivered_bytes = m->bytes;
    r->connects = m->connects;
    r->leaves = m->leaves;
    r->latency = m->latency;
    r->connect = m->connect;
    r->served = m->served;
    r->tool.late = m->late;
}
