#include "churn.h"
#include "load.h"
#include "memory.h"
#include "scenario.h"

#include <stdlib.h>

enum { ROVERS_SHARE = 10 }; /* one to so many subscribers */

static const double ROVE_SECONDS = 0.25;

struct soak {
    struct run *run;
    struct load *load;
    struct churn churn;
    size_t turn;
};

void soak_plan(const struct options *o, struct plan *plan)
{
    plan_add_fanout(plan, (uint32_t)o->subscribers, (uint32_t)o->publishers);
    plan_add_topics(plan, (uint32_t)o->topics, (uint32_t)o->subscribers,
        (uint32_t)o->per_subscriber, (uint32_t)o->publishers, o->seed);
    plan_add_pairs(plan, (uint32_t)o->pairs);
    plan_add_rovers(plan, (uint32_t)o->subscribers / ROVERS_SHARE + 1);
}

struct soak *soak_start(struct run *run, struct load *load)
{
    struct soak *soak = memory_new(1, sizeof *soak);
    soak->run = run;
    soak->load = load;
    churn_open(&soak->churn, run, run->o->connections, true);
    churn_start(&soak->churn);
    return soak;
}

/* One of them drops its connection and comes back at once. */
static void lane_rove(struct lane *lane, void *user)
{
    const struct soak *soak = user;
    struct load_lane *at = &soak->load->lanes[lane->index];
    size_t rovers = 0;
    for (size_t i = 0; i < at->subscriber_count; i++)
        rovers += at->subscribers[i].plan->roves;
    size_t chosen = rovers ? soak->turn % rovers : 0;
    for (size_t i = 0; rovers && i < at->subscriber_count; i++) {
        struct subscriber *s = &at->subscribers[i];
        if (!s->plan->roves || chosen-- > 0)
            continue;
        if (s->stage == STAGE_READY || s->stage == STAGE_GONE) {
            subscriber_cut(s);
            subscriber_open(s, uv_hrtime());
        }
        return;
    }
}

void soak_wait(struct soak *soak)
{
    struct run *run = soak->run;
    uint64_t end = soak->load->until;
    run->ends_at = end;
    for (uint64_t at = uv_hrtime(); at < end; soak->turn++) {
        at += run_seconds(ROVE_SECONDS);
        enum run_wait how = run_wait(run, at < end ? at : end, load_deserted, soak->load, 0);
        if (how == RUN_MET)
            load_note_deserted(soak->load);
        if (how != RUN_TIME) {
            load_stop(soak->load);
            break;
        }
        fleet_call(&run->fleet, lane_rove, soak);
    }
    run->ends_at = 0;
    churn_stop(&soak->churn);
}

void soak_free(struct soak *soak)
{
    if (!soak)
        return;
    churn_close(&soak->churn);
    free(soak);
}
