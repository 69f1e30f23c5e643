#include "load.h"
#include "scenario.h"

enum { PAIRS_PER_CONNECTION = 2 };

/* A drain that took no longer does not count as time: what was sent in the planned seconds has
 * arrived in them, but for what was just under way. */
static const double DRAIN_FREE = 0.1;

size_t scenario_connections(const struct options *o)
{
    switch (o->scenario) {
    case SCENARIO_PAIRS:
        return PAIRS_PER_CONNECTION * o->pairs;
    case SCENARIO_CONNECT:
    case SCENARIO_CHURN:
        return o->connections;
    case SCENARIO_SOAK: {
        struct plan plan;
        plan_init(&plan);
        soak_plan(o, &plan);
        size_t count = plan.subscriber_count + plan.publisher_count + o->connections;
        plan_fini(&plan);
        return count;
    }
    default:
        return o->subscribers + o->publishers;
    }
}

static void make_plan(const struct options *o, struct plan *plan)
{
    plan_init(plan);
    switch (o->scenario) {
    case SCENARIO_TOPICS:
        plan_add_topics(plan, (uint32_t)o->topics, (uint32_t)o->subscribers,
            (uint32_t)o->per_subscriber, (uint32_t)o->publishers, o->seed);
        break;
    case SCENARIO_PAIRS:
        plan_add_pairs(plan, (uint32_t)o->pairs);
        break;
    case SCENARIO_SOAK:
        soak_plan(o, plan);
        break;
    default:
        plan_add_fanout(plan, (uint32_t)o->subscribers, (uint32_t)o->publishers);
        plan_stall(plan, o->stalled);
    }
}

/* ---- slow ---- */

struct stalled {
    struct load *load;
    size_t stalled, closed;
};

static void lane_stall(struct lane *lane, void *user)
{
    struct stalled *s = user;
    struct load_lane *at = &s->load->lanes[lane->index];
    for (size_t i = 0; i < at->subscriber_count; i++) {
        subscriber_stall(&at->subscribers[i]);
        s->stalled += at->subscribers[i].stalled;
    }
}

static void lane_resume(struct lane *lane, void *user)
{
    struct stalled *s = user;
    struct load_lane *at = &s->load->lanes[lane->index];
    for (size_t i = 0; i < at->subscriber_count; i++)
        subscriber_resume(&at->subscribers[i]);
}

static void lane_count_closed(struct lane *lane, void *user)
{
    struct stalled *s = user;
    s->closed += s->load->lanes[lane->index].slow;
}

/* They read again: each must then see all of it, or have been told that it was too slow. */
static void end_of_stall(struct stalled *s)
{
    struct run *run = s->load->run;
    run->doing = "the stalled ones catch up";
    fleet_call(&run->fleet, lane_resume, s);
    load_wait(s->load, true);
    fleet_call(&run->fleet, lane_count_closed, s);
    report_note(run->report,
        "%zu subscribers did not read. When they did again, %zu of them had been closed as too "
        "slow "
        "(4008)%s.",
        s->stalled, s->closed,
        s->closed < s->stalled ? ", the others got everything they had missed" : "");
}

/* ---- all ---- */

static void measure(struct run *run, struct load *load)
{
    const struct options *o = run->o;
    struct stalled stalled = {.load = load};
    struct soak *soak = NULL;
    run->doing = "measuring";
    run_begin(run);
    run->zero = run->begun;
    if (o->scenario == SCENARIO_SLOW)
        fleet_call(&run->fleet, lane_stall, &stalled);
    if (o->scenario == SCENARIO_SOAK)
        soak = soak_start(run, load);
    load_start(load, o->rate, o->seconds);
    if (soak)
        soak_wait(soak);
    bool whole = load_wait(load, false);
    double took = (double)(uv_hrtime() - run->begun) / 1e9;
    run_end(run, o->rate > 0 && whole && took < o->seconds + DRAIN_FREE ? o->seconds : 0);
    if (stalled.stalled > 0 && !run->stalled)
        end_of_stall(&stalled);
    soak_free(soak);
    uint64_t unsent = load_unsent(load);
    if (unsent > 0)
        report_note(run->report,
            "%llu messages were due but never sent, because the server took no more of them. The "
            "latency does not know them: the rate was beyond the server.",
            (unsigned long long)unsent);
}

bool scenario_load(struct run *run, char *fault, size_t fault_size)
{
    const struct options *o = run->o;
    struct plan plan;
    struct load load;
    make_plan(o, &plan);
    load_open(&load, run, &plan);
    bool ran = load_connect(&load, fault, fault_size);
    if (ran && o->find_knee) {
        ran = search_knee(run, &load, fault, fault_size);
    } else if (ran) {
        bool warm = true;
        run->doing = "warming up";
        run->zero = uv_hrtime() + run_seconds(o->warmup);
        if (o->warmup > 0) {
            load_start(&load, o->rate, o->warmup);
            warm = load_wait(&load, false);
        }
        if (warm)
            measure(run, &load);
    }
    load_settle(&load);
    load_close(&load);
    return ran || run->interrupted;
}
