#include "load.h"
#include "scenario.h"

static const double FOR_EVER = 1e9;

struct storm {
    struct load *load;
    double spread;
};

static void lane_cut(struct lane *lane, void *user)
{
    struct storm *storm = user;
    struct load_lane *at = &storm->load->lanes[lane->index];
    for (size_t i = 0; i < at->subscriber_count; i++)
        subscriber_cut(&at->subscribers[i]);
}

static void come_back(void *user, size_t number, uint64_t moment)
{
    struct load_lane *at = user;
    (void)moment;
    subscriber_open(&at->subscribers[number], uv_hrtime());
}

static void lane_return(struct lane *lane, void *user)
{
    struct storm *storm = user;
    struct load_lane *at = &storm->load->lanes[lane->index];
    double rate = storm->spread > 0 ? (double)at->subscriber_count / storm->spread : 0;
    at->ramp.open = come_back;
    at->settled = 0;
    ramp_start(&at->ramp, at->subscriber_count, rate, uv_hrtime(), SIZE_MAX);
}

static bool served(void *user)
{
    struct storm *storm = user;
    return load_served(storm->load);
}

static void rounds(struct run *run, struct load *load)
{
    const struct options *o = run->o;
    struct storm storm = {load, o->spread};
    for (size_t i = 0; i < o->rounds && !run->interrupted; i++) {
        run->doing = "all are cut and come back";
        fleet_call(&run->fleet, lane_cut, &storm);
        uint64_t cut = uv_hrtime();
        fleet_call(&run->fleet, lane_return, &storm);
        /* For the second message, too, since the first may be missed by a hair. */
        double most = RUN_CONNECT_PATIENCE(o) + o->spread + 2 / o->rate;
        enum run_wait end = run_wait(run, cut + run_seconds(most), served, &storm, 0);
        double took = (double)(uv_hrtime() - cut) / 1e9;
        if (end == RUN_TIME)
            load_give_up(load);
        if (end == RUN_MET && load->subscribers_ready == load->plan.subscriber_count)
            report_add_round(run->report, took);
        else if (end != RUN_INTERRUPTED)
            report_note(run->report, "Round %zu: %zu of %zu were served again within %.3f s.",
                i + 1, load_served_count(load), load->plan.subscriber_count, took);
        run->doing = "a quiet moment";
        if (end != RUN_INTERRUPTED)
            run_wait(run, uv_hrtime() + run_seconds(o->seconds), NULL, NULL, 0);
    }
}

bool scenario_storm(struct run *run, char *fault, size_t fault_size)
{
    const struct options *o = run->o;
    struct plan plan;
    struct load load;
    plan_init(&plan);
    plan_add_fanout(&plan, (uint32_t)o->subscribers, (uint32_t)o->publishers);
    load_open(&load, run, &plan);
    bool ran = load_connect(&load, fault, fault_size);
    if (ran && o->recover) {
        ran = storm_recover(run, &load, fault, fault_size);
    } else if (ran) {
        run->doing = "warming up";
        load_start(&load, o->rate, FOR_EVER);
        run_wait(run, uv_hrtime() + run_seconds(o->warmup), NULL, NULL, 0);
        if (!run->interrupted) {
            run_begin(run);
            rounds(run, &load);
            run_end(run, 0);
        }
        load_stop(&load);
        load_wait(&load, false);
    }
    load_settle(&load);
    load_close(&load);
    return ran || run->interrupted;
}
