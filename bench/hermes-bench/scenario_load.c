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

static void lane_stall(struct lane *lane, void *user)
{
    const struct load *load = user;
    struct load_lane *at = &load->lanes[lane->index];
    for (size_t i = 0; i < at->subscriber_count; i++)
        subscriber_stall(&at->subscribers[i]);
}

static void lane_resume(struct lane *lane, void *user)
{
    const struct load *load = user;
    struct load_lane *at = &load->lanes[lane->index];
    for (size_t i = 0; i < at->subscriber_count; i++)
        subscriber_resume(&at->subscribers[i]);
}

/* They read again: each must then see all of it, or be told that it was too slow. False when some
 * did not. */
static bool end_stall(struct run *run, struct load *load)
{
    run->doing = "the stalled ones catch up";
    fleet_call(&run->fleet, lane_resume, load);
    return load_wait(load, true);
}

/* When all connections are closed, since a server may say behind all that was missed that the
 * reader was too slow. */
static void note_stall(struct run *run, const struct load *load, size_t stalled, bool caught_up)
{
    size_t closed = load->slow;
    report_note(run->report,
        "%zu subscribers did not read. When they did again, %zu of them had been closed as too "
        "slow "
        "(4008) or for not answering%s.",
        stalled, closed,
        caught_up && closed < stalled ? ", the others got all they had missed" : "");
}

/* ---- all ---- */

static void note_unsent(struct run *run, struct load *load)
{
    struct load_unsent unsent = load_unsent(load);
    run->report->unsent = unsent.refused + unsent.behind;
    if (unsent.refused > 0)
        report_note(run->report,
            "%llu messages were due but never sent, because the server took no more of them. The "
            "latency does not know them: the rate was beyond the server.",
            (unsigned long long)unsent.refused);
    if (unsent.behind > 0)
        report_note(run->report,
            "%llu messages were due but never sent, because this tool did not come to it. The "
            "latency does not know them: the rate was beyond the tool.",
            (unsigned long long)unsent.behind);
}

static void measure(struct run *run, struct load *load)
{
    const struct options *o = run->o;
    struct soak *soak = NULL;
    run->doing = "measuring";
    run_begin(run);
    if (o->scenario == SCENARIO_SLOW)
        fleet_call(&run->fleet, lane_stall, load);
    if (o->scenario == SCENARIO_SOAK)
        soak = soak_start(run, load);
    load_start(load, o->rate, o->seconds);
    if (soak)
        soak_wait(soak);
    bool whole = load_wait(load, false);
    double took = (double)(uv_hrtime() - run->begun) / 1e9;
    run_end(run, o->rate > 0 && whole && took < o->seconds + DRAIN_FREE ? o->seconds : 0);
    soak_free(soak);
    note_unsent(run, load);
}

bool scenario_load(struct run *run, char *fault, size_t fault_size)
{
    const struct options *o = run->o;
    struct plan plan;
    struct load load;
    size_t stalled = 0;
    make_plan(o, &plan);
    load_open(&load, run, &plan);
    bool ran = load_connect(&load, fault, fault_size);
    if (ran && o->find_knee) {
        ran = search_knee(run, &load, fault, fault_size);
    } else if (ran) {
        bool warm = true;
        run->doing = "warming up";
        if (o->warmup > 0) {
            load_start(&load, o->rate, o->warmup);
            warm = load_wait(&load, false);
        }
        if (warm)
            measure(run, &load);
        for (size_t i = 0; warm && i < load.plan.subscriber_count; i++)
            stalled += load.plan.subscribers[i].stalls;
    }
    bool caught_up = stalled == 0 || end_stall(run, &load);
    load_settle(&load);
    load_close(&load);
    if (stalled > 0)
        note_stall(run, &load, stalled, caught_up);
    return ran || run->interrupted;
}
