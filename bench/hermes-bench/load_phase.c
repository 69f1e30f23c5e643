#include "load.h"

/* ---- sending ---- */

static void lane_start(struct lane *lane, void *user)
{
    struct load *load = user;
    load->lanes[lane->index].complete = 0;
    publishers_start(&load->lanes[lane->index]);
}

void load_start(struct load *load, double rate, double seconds)
{
    /* A little later, so that all lanes begin in time. */
    load->run->draining = false;
    load->start = uv_hrtime() + 2000000;
    load->until = load->start + run_seconds(seconds);
    load->interval = rate > 0 ? (double)load->plan.publisher_count * 1e9 / rate : 0;
    fleet_call(&load->run->fleet, lane_start, load);
}

static void lane_stop(struct lane *lane, void *user)
{
    struct load *load = user;
    if (load->interval > 0)
        publishers_due(&load->lanes[lane->index]);
}

void load_stop(struct load *load)
{
    uint64_t now = uv_hrtime();
    if (now < load->until)
        load->until = now;
    fleet_call(&load->run->fleet, lane_stop, load);
}

struct draining {
    struct load *load;
    bool stalled_too, done;
};

/* A window that waits for somebody who is gone is not sent any more. */
static bool is_sending(const struct load_lane *at)
{
    if (!at->sending || at->load->interval > 0)
        return at->sending;
    for (size_t i = 0; i < at->publisher_count; i++)
        if (at->publishers[i]->stage == STAGE_READY)
            return at->load->subscribers_ready > 0;
    return false;
}

static void lane_drained(struct lane *lane, void *user)
{
    struct draining *d = user;
    struct load_lane *at = &d->load->lanes[lane->index];
    while (d->done && at->complete < at->subscriber_count) {
        if (!subscriber_has_all(&at->subscribers[at->complete], d->stalled_too))
            d->done = false;
        else
            at->complete++;
    }
}

static void lane_sending(struct lane *lane, void *user)
{
    struct draining *d = user;
    d->done &= !is_sending(&d->load->lanes[lane->index]);
}

static bool all_drained(void *user)
{
    struct draining *d = user;
    d->done = true;
    /* As long as one sends, what is complete does not stay so. */
    fleet_call(&d->load->run->fleet, lane_sending, d);
    if (d->done)
        fleet_call(&d->load->run->fleet, lane_drained, d);
    return d->done;
}

static void lane_look_again(struct lane *lane, void *user)
{
    struct load *load = user;
    load->lanes[lane->index].complete = 0;
}

bool load_deserted(void *user)
{
    const struct load *load = user;
    return load->subscribers_ready == 0 || load->publishers_ready == 0;
}

void load_note_deserted(struct load *load)
{
    uint64_t now = uv_hrtime();
    if (load->too_slow_is_fine)
        return;
    report_note(load->run->report,
        "%s was gone after %.1f s: what was left of the run was left out.",
        load->publishers_ready == 0 ? "Every publisher" : "Every subscriber",
        now > load->start ? (double)(now - load->start) / 1e9 : 0.0);
}

bool load_wait(struct load *load, bool stalled_too)
{
    struct run *run = load->run;
    struct draining d = {.load = load, .stalled_too = stalled_too};
    enum run_wait end = RUN_TIME;
    if (stalled_too)
        fleet_call(&run->fleet, lane_look_again, load);
    /* By a schedule there may be long between two messages. */
    if (!stalled_too && uv_hrtime() < load->until)
        end = run_wait(
            run, load->until, load_deserted, load, load->interval > 0 ? 0 : load->o->patience);
    if (end == RUN_MET)
        load_note_deserted(load);
    if (end == RUN_INTERRUPTED || end == RUN_MET)
        load_stop(load);
    run_collect(run, true);
    run->draining = true;
    if (end != RUN_STALLED)
        end = run_wait(run, 0, all_drained, &d, load->o->patience);
    if (end == RUN_INTERRUPTED) {
        load_stop(load);
        end = run_wait(run, 0, all_drained, &d, load->o->patience);
    }
    if (end == RUN_STALLED && !run->stalled) {
        run->stalled = true;
        report_note(run->report, "Nothing came any more for %g s: what was missing then is lost.%s",
            load->o->patience,
            load->interval > 0 ? "" : " A window is refilled only when all subscribers have it.");
    }
    return end == RUN_MET && !run->interrupted && !load_deserted(load);
}

static void lane_confirm(struct lane *lane, void *user)
{
    struct load *load = user;
    publishers_confirm(&load->lanes[lane->index], load->token);
}

static void lane_confirmed(struct lane *lane, void *user)
{
    struct draining *d = user;
    d->done &= publishers_are_confirmed(&d->load->lanes[lane->index], d->load->token);
}

static bool all_sent(void *user)
{
    struct draining *d = user;
    d->done = true;
    fleet_call(&d->load->run->fleet, lane_sending, d);
    return d->done;
}

static bool all_confirmed(void *user)
{
    struct draining *d = user;
    d->done = true;
    fleet_call(&d->load->run->fleet, lane_confirmed, d);
    return d->done;
}

bool load_wait_read(struct load *load)
{
    struct run *run = load->run;
    struct draining d = {.load = load};
    /* By a schedule there may be long between two messages. */
    double patience = load->o->patience + (load->interval > 0 ? load->interval / 1e9 : 0);
    enum run_wait end = run_wait(run, 0, all_sent, &d, patience);
    if (end != RUN_MET)
        return false;
    load->token++;
    fleet_call(&run->fleet, lane_confirm, load);
    end = run_wait(run, 0, all_confirmed, &d, load->o->patience);
    if (end == RUN_STALLED)
        report_note(run->report, "The server did not come to read all that was published.");
    return end == RUN_MET && load->publishers_ready > 0;
}

static void lane_settle(struct lane *lane, void *user)
{
    struct load *load = user;
    struct load_lane *at = &load->lanes[lane->index];
    for (size_t i = 0; i < at->subscriber_count; i++)
        subscriber_settle(&at->subscribers[i]);
}

void load_settle(struct load *load)
{
    fleet_call(&load->run->fleet, lane_settle, load);
    run_collect(load->run, true);
}

static void lane_unsent(struct lane *lane, void *user)
{
    struct load_lane *at = lane->part;
    struct load_unsent *sum = user;
    sum->refused += at->unsent.refused;
    sum->behind += at->unsent.behind;
    at->unsent = (struct load_unsent){0};
}

struct load_unsent load_unsent(struct load *load)
{
    struct load_unsent sum = {0};
    fleet_call(&load->run->fleet, lane_unsent, &sum);
    return sum;
}

struct serving {
    struct load *load;
    bool all;
};

static void lane_served(struct lane *lane, void *user)
{
    struct serving *s = user;
    const struct load_lane *at = &s->load->lanes[lane->index];
    s->all &= at->settled == at->subscriber_count;
    for (size_t i = 0; s->all && i < at->subscriber_count; i++)
        s->all = at->subscribers[i].stage != STAGE_READY || at->subscribers[i].cut == 0;
}

bool load_served(struct load *load)
{
    struct serving s = {load, true};
    fleet_call(&load->run->fleet, lane_served, &s);
    return s.all;
}

static void lane_served_count(struct lane *lane, void *user)
{
    const struct load_lane *at = lane->part;
    for (size_t i = 0; i < at->subscriber_count; i++)
        *(size_t *)user += at->subscribers[i].stage == STAGE_READY && at->subscribers[i].cut == 0;
}

size_t load_served_count(struct load *load)
{
    size_t count = 0;
    fleet_call(&load->run->fleet, lane_served_count, &count);
    return count;
}
