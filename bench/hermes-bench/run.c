#include "run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "memory.h"
#include "preflight.h"
#include "probe.h"

enum {
    POINTS_MOST = 600, /* of a run with a known end */
    LOOK_MS = 4,       /* how often `met` is asked */
};

uint64_t run_seconds(double seconds)
{
    return (uint64_t)(seconds * 1e9);
}

/* ---- beginning and end ---- */

static void end_at_once(int number)
{
    (void)number;
    _exit(130);
}

/* Before any thread is there, so that all have it. */
static int take_signals(void)
{
    sigset_t set;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* The next one finds nobody who reads, and ends the program. */
static void give_signals_back(void)
{
    sigset_t set;
    signal(SIGINT, end_at_once);
    signal(SIGTERM, end_at_once);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static bool preflight(const struct options *o, size_t connections)
{
    struct hermes_url url;
    char *said = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&said, &len);
    if (!out)
        return true;
    hermes_url_parse(&url, o->url);
    bool returns = o->scenario == SCENARIO_STORM;
    struct preflight p = {.connections = connections,
        .connects_per_second =
            returns && o->spread > 0 ? (double)connections / o->spread : o->connect_rate,
        .at_once = returns || o->scenario == SCENARIO_CHURN ? 0 : RUN_UNDER_WAY * o->threads,
        .sources = o->sources,
        .host = url.host,
        .port = url.port,
        .pid = (long)o->pid,
        .threads = (unsigned)o->threads};
    bool possible = preflight_check(&p, out);
    fclose(out);
    if (!o->quiet || !possible)
        fputs(said, stderr);
    free(said);
    return possible;
}

bool run_open(struct run *run, const struct options *o, struct report *report, size_t connections,
    char *fault, size_t fault_size)
{
    *run = (struct run){.o = o, .report = report, .every = RUN_LOOK_NS, .doing = "starting"};
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(report->started, sizeof report->started, "%Y-%m-%dT%H:%M:%SZ", &utc);
    snprintf(report->scenario, sizeof report->scenario, "%s", options_scenario(o->scenario));
    snprintf(report->url, sizeof report->url, "%s", o->url);
    json_decref(report->settings);
    report->settings = options_json(o);
    report->warmup = o->warmup;
    report->rate = o->rate;
    report->saturating = o->window > 0;
    report->tool.threads = (unsigned)o->threads;
    if (o->slo_text)
        snprintf(report->slo, sizeof report->slo, "%s", o->slo_text);

    if (o->pid) {
        report->server.pid = (long)o->pid;
        report->server.known = process_read((long)o->pid, &run->server_point);
        report->server.rss_before = report->server.rss_peak = run->server_point.rss;
        run->peak_before = run->server_point.rss_peak;
        run->server_look = run->server_point;
        if (!report->server.known) {
            snprintf(fault, fault_size, "--pid %zu: %s", o->pid, strerror(errno));
            return false;
        }
    }
    if (!preflight(o, connections)) {
        snprintf(fault, fault_size, "this run cannot be made here");
        return false;
    }
    if (!probe(o, fault, fault_size))
        return false;
    run->signals = take_signals();
    run->fresh = memory_new(1, sizeof *run->fresh);
    run->since = memory_new(1, sizeof *run->since);
    run->measured = memory_new(1, sizeof *run->measured);
    run->lane_cpu = memory_new(o->threads, sizeof *run->lane_cpu);
    progress_init(&run->progress, stderr, o->quiet);
    run->opened = run->point_at = run->looked_at = run->moved_at = uv_hrtime();
    uint64_t every = run_seconds(o->warmup + o->seconds) / POINTS_MOST;
    if (every > run->every)
        run->every = every;
    return fleet_open(&run->fleet, (unsigned)o->threads, fault, fault_size);
}

void run_close(struct run *run)
{
    progress_clear(&run->progress);
    if (run->fleet.lanes)
        fleet_close(&run->fleet);
    run_date_points(run);
    free(run->fresh);
    free(run->since);
    free(run->measured);
    free(run->lane_cpu);
    if (run->signals > 0)
        close(run->signals);
}

/* ---- waiting ---- */

static bool signalled(struct run *run, int timeout)
{
    struct pollfd fd = {.fd = run->signals, .events = POLLIN};
    struct signalfd_siginfo info;
    if (run->interrupted) { /* nothing to wait for */
        poll(NULL, 0, timeout < LOOK_MS ? timeout : LOOK_MS);
        return false;
    }
    if (poll(&fd, 1, timeout) <= 0 || read(run->signals, &info, sizeof info) <= 0)
        return false;
    run->interrupted = true;
    give_signals_back();
    return true;
}

enum run_wait run_wait(
    struct run *run, uint64_t until, bool (*met)(void *user), void *user, double patience)
{
    run->moved_at = uv_hrtime();
    run->waits_to = until;
    for (;;) {
        uint64_t now = uv_hrtime();
        if (met && met(user))
            return RUN_MET;
        if (until && now >= until)
            return RUN_TIME;
        if (patience > 0 && now > run->moved_at && now - run->moved_at > run_seconds(patience))
            return RUN_STALLED;
        uint64_t next = run->looked_at + RUN_LOOK_NS;
        if (until && until < next)
            next = until;
        uint64_t wait = next > now ? (next - now) / 1000000 + 1 : 0;
        if (met && wait > LOOK_MS)
            wait = LOOK_MS;
        if (signalled(run, (int)wait))
            return RUN_INTERRUPTED;
        run_collect(run, false);
    }
}
