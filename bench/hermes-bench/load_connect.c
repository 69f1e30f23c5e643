#include <stdio.h>

#include "load.h"

static void ramp_subscriber(void *user, size_t number, uint64_t moment)
{
    struct load_lane *at = user;
    struct subscriber *s = &at->subscribers[number];
    if (s->stage == STAGE_READY) {
        at->settled++;
        ramp_settled(&at->ramp);
    } else {
        subscriber_open(s, moment);
    }
}

static void ramp_publisher(void *user, size_t number, uint64_t moment)
{
    struct load_lane *at = user;
    struct publisher *p = at->publishers[number];
    if (p->stage == STAGE_READY) {
        at->settled++;
        ramp_settled(&at->ramp);
    } else {
        publisher_open(p, moment);
    }
}

struct connecting {
    struct load *load;
    bool publishers;
    size_t settled;
};

static void lane_connect(struct lane *lane, void *user)
{
    const struct connecting *c = user;
    struct load_lane *at = &c->load->lanes[lane->index];
    double rate = c->load->o->connect_rate / lane->fleet->count;
    uint64_t start = uv_hrtime();
    if (rate > 0)
        start += (uint64_t)(1e9 / rate / lane->fleet->count * lane->index);
    at->ramp.open = c->publishers ? ramp_publisher : ramp_subscriber;
    at->settled = 0;
    ramp_start(&at->ramp, c->publishers ? at->publisher_count : at->subscriber_count, rate, start,
        RUN_UNDER_WAY);
}

static void lane_settled(struct lane *lane, void *user)
{
    struct connecting *c = user;
    c->settled += c->load->lanes[lane->index].settled;
}

static bool all_settled(void *user)
{
    struct connecting *c = user;
    const struct plan *plan = &c->load->plan;
    c->settled = 0;
    fleet_call(&c->load->run->fleet, lane_settled, c);
    return c->settled == (c->publishers ? plan->publisher_count : plan->subscriber_count);
}

static void lane_give_up(struct lane *lane, void *user)
{
    struct load *load = user;
    struct load_lane *at = &load->lanes[lane->index];
    ramp_stop(&at->ramp);
    for (size_t i = 0; i < at->subscriber_count; i++)
        if (at->subscribers[i].stage == STAGE_CONNECTING) {
            if (!load->run->interrupted) {
                lane->tally.faults.unconnected++;
                tally_say(&lane->tally, "A subscriber got no answer.");
            }
            subscriber_cut(&at->subscribers[i]);
        }
}

void load_give_up(struct load *load)
{
    fleet_call(&load->run->fleet, lane_give_up, load);
}

static bool connect_all(struct load *load, bool publishers, char *fault, size_t fault_size)
{
    struct run *run = load->run;
    struct connecting c = {.load = load, .publishers = publishers};
    fleet_call(&run->fleet, lane_connect, &c);
    enum run_wait end = run_wait(run, 0, all_settled, &c, RUN_CONNECT_PATIENCE(load->o));
    if (end == RUN_STALLED)
        load_give_up(load);
    run_collect(run, true);
    if (end == RUN_INTERRUPTED) {
        load_give_up(load);
        return false;
    }
    if ((publishers ? load->publishers_ready : load->subscribers_ready) > 0)
        return true;
    snprintf(fault, fault_size, "no %s could connect", publishers ? "publisher" : "subscriber");
    return false;
}

bool load_connect(struct load *load, char *fault, size_t fault_size)
{
    load->run->doing = "connecting";
    return connect_all(load, false, fault, fault_size) &&
           connect_all(load, true, fault, fault_size);
}
