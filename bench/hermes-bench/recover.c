/* storm --recover: all are cut, messages are published meanwhile, and all return and ask for them.
 */
#include <stdio.h>

#include "load.h"
#include "scenario.h"

static void lane_cut(struct lane *lane, void *user)
{
    struct load *load = user;
    struct load_lane *at = &load->lanes[lane->index];
    for (size_t i = 0; i < at->subscriber_count; i++)
        subscriber_cut(&at->subscribers[i]);
}

struct returning {
    struct load *load;
    uint64_t moment; /* the same for all, so that waiting for one's turn counts */
    uint64_t owed;
};

static void come_back(void *user, size_t number, uint64_t moment)
{
    struct load_lane *at = user;
    subscriber_open(&at->subscribers[number], moment);
}

static void lane_return(struct lane *lane, void *user)
{
    struct returning *r = user;
    struct load_lane *at = &r->load->lanes[lane->index];
    double spread = r->load->o->spread;
    for (size_t i = 0; i < at->subscriber_count; i++) {
        subscriber_awaits(&at->subscribers[i], r->moment);
        r->owed += at->subscribers[i].owed;
    }
    at->ramp.open = come_back;
    at->settled = 0;
    ramp_start(&at->ramp, at->subscriber_count,
        spread > 0 ? (double)at->subscriber_count / spread : 0, uv_hrtime(), SIZE_MAX);
}

static bool all_are_back(void *user)
{
    return load_served(user);
}

/* Exactly so many: half a message's time short of where the next would be due. */
static void publish_missed(struct load *load)
{
    const struct options *o = load->o;
    load_start(load, o->rate, ((double)o->missed - 0.5) / o->rate);
}

static void note_server(struct run *run, const struct process_reading *before, bool first)
{
    struct report *r = run->report;
    struct process_reading now;
    if (!r->server.known || !process_read((long)run->o->pid, &now))
        return;
    uint64_t peak = now.rss_peak > before->rss_peak ? now.rss_peak : now.rss;
    if (first)
        r->recovery.rss_before = before->rss;
    if (peak > r->recovery.rss_peak)
        r->recovery.rss_peak = peak;
    r->recovery.rss_after = now.rss;
    r->recovery.cpu += now.cpu - before->cpu;
}

/* All return, and have what they missed or do not. False when nobody did: with a line in `fault`.
 */
static bool come_and_catch_up(
    struct run *run, struct load *load, size_t number, char *fault, size_t fault_size)
{
    const struct options *o = run->o;
    struct process_reading before = {0};
    size_t all = load->plan.subscriber_count;
    run_collect(run, true);
    if (run->report->server.known)
        process_read((long)o->pid, &before);
    struct returning r = {load, uv_hrtime(), 0};
    load->unrecovered = 0;
    fleet_call(&run->fleet, lane_return, &r);
    enum run_wait end = run_wait(run, 0, all_are_back, load, RUN_CONNECT_PATIENCE(o) + o->spread);
    double took = (double)(uv_hrtime() - r.moment) / 1e9;
    run_collect(run, true);
    note_server(run, &before, number == 1);
    run->report->recovery.measured = true;
    if (end == RUN_STALLED)
        load_give_up(load);
    size_t back = load->subscribers_ready, unrecovered = load->unrecovered;
    if (unrecovered > 0 && unrecovered == back) {
        snprintf(fault, fault_size,
            "none of the subscribers got what it had missed: the server has to keep %zu messages "
            "of a topic, see --recover in --help",
            o->missed);
        return false;
    }
    if (end == RUN_MET && back == all && unrecovered == 0) {
        run->report->recovery.messages += r.owed;
        report_add_round(run->report, took);
    } else if (end != RUN_INTERRUPTED) {
        report_note(run->report, "Round %zu: %zu of %zu had all they missed within %.3f s.", number,
            load_served_count(load) - unrecovered, all, took);
    }
    return true;
}

static bool one_round(
    struct run *run, struct load *load, size_t number, char *fault, size_t fault_size)
{
    run->doing = "all are cut, messages go out";
    fleet_call(&run->fleet, lane_cut, load);
    publish_missed(load);
    bool whole = load_wait_read(load);
    if (run->interrupted)
        return true;
    if (!whole || load->publishers_ready == 0) {
        snprintf(fault, fault_size, "what the subscribers were to miss could not be published");
        return false;
    }
    run->doing = "all come back";
    if (!come_and_catch_up(run, load, number, fault, fault_size))
        return false;
    if (run->interrupted)
        return true;
    run->doing = "all go on";
    load_start(load, run->o->rate, run->o->seconds);
    load_wait(load, false);
    return true;
}

bool storm_recover(struct run *run, struct load *load, char *fault, size_t fault_size)
{
    const struct options *o = run->o;
    bool ran = true;
    if (o->warmup > 0) {
        run->doing = "warming up";
        load_start(load, o->rate, o->warmup);
        load_wait(load, false);
    }
    run_begin(run);
    for (size_t i = 0; ran && i < o->rounds && !run->interrupted && !load_deserted(load); i++)
        ran = one_round(run, load, i + 1, fault, fault_size);
    run_end(run, 0);
    return ran;
}
