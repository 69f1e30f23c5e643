/* --find-knee: measures one rate after the other on the same connections. */
#include <stdio.h>

#include "knee.h"
#include "load.h"
#include "scenario.h"

static const double RATE_LEAST = 1;
static const double RATE_MOST = 1e7;
static const double DELIVERED = 0.97; /* of what was asked for, to count as held */
static const double DRAIN_FREE = 0.1; /* seconds */

static uint64_t faults_of(const struct report *r)
{
    const struct report_faults *f = &r->faults;
    return f->lost + f->doubled + f->reordered + f->damaged + f->refused + f->closed +
           f->unconnected + f->misnumbered + f->unrecovered;
}

/* False when the search has to end. */
static bool try(struct run *run, struct load *load, double rate, struct report_step *step)
{
    const struct options *o = run->o;
    struct report *r = run->report;
    uint64_t faults = faults_of(r);
    bool whole = true;
    if (o->warmup > 0) {
        load_start(load, rate, o->warmup);
        whole = load_wait(load, false);
    }
    run_begin(run);
    if (whole) {
        load_start(load, rate, o->seconds);
        whole = load_wait(load, false);
    }
    double took = (double)(uv_hrtime() - run->begun) / 1e9;
    run_end(run, whole && took < o->seconds + DRAIN_FREE ? o->seconds : 0);
    (void)load_unsent(load); /* what was not delivered says it */
    uint64_t slow = atomic_exchange(&load->slow, 0);
    *step = (struct report_step){.rate = rate,
        .delivered = (double)r->published / r->seconds,
        .p50 = histogram_at(&r->latency, 0.5),
        .p99 = histogram_at(&r->latency, 0.99),
        .p999 = histogram_at(&r->latency, 0.999),
        .most = r->latency.most};
    if (slow > 0)
        snprintf(step->why, sizeof step->why, "%llu subscribers were closed as too slow",
            (unsigned long long)slow);
    else if (faults_of(r) != faults)
        snprintf(step->why, sizeof step->why, "faults were seen");
    else if (!whole)
        snprintf(step->why, sizeof step->why,
            run->interrupted ? "interrupted" : "nothing came any more");
    else if (slo_holds(&o->slo, &r->latency, step->why, sizeof step->why) &&
             step->delivered < DELIVERED * rate)
        snprintf(step->why, sizeof step->why, "%.0f a second came about", step->delivered);
    step->held = !step->why[0];
    return whole || slow > 0;
}

/* What was measured at the highest rate that held is what the report says. */
static void keep(struct report *to, const struct report *from)
{
    to->published = from->published;
    to->deliveries = from->deliveries;
    to->delivered_bytes = from->delivered_bytes;
    to->connects = from->connects;
    to->leaves = from->leaves;
    to->seconds = from->seconds;
    to->latency = from->latency;
    to->connect = from->connect;
    to->tool = from->tool;
    to->server.cpu = from->server.cpu;
}

bool search_knee(struct run *run, struct load *load, char *fault, size_t fault_size)
{
    struct report *r = run->report;
    static const char tool_note[] = "At %.0f messages per second the tool itself was busy for %.0f "
                                    "%% of the time: the limit may "
                                    "be the tool's, try more --threads.";
    struct report_step step;
    struct report best;
    struct knee knee;
    bool found = false;
    bool noted = false;
    load->too_slow_is_fine = true;
    knee_start(&knee, run->o->rate, RATE_LEAST, RATE_MOST);
    while (knee.next > 0 && !run->interrupted) {
        /* Whoever was closed as too slow is there again. */
        if (!load_connect(load, fault, fault_size))
            break;
        char doing[48];
        double rate = knee.next;
        snprintf(doing, sizeof doing, "trying %.0f a second", rate);
        run->doing = doing;
        bool go_on = try(run, load, rate, &step);
        run->doing = "searching";
        if (!run->interrupted)
            report_add_step(r, &step);
        if (step.held && rate > r->knee) {
            r->knee = rate;
            best = *r;
            found = true;
        } else if (!step.held && r->tool.busiest > 0.9 && !noted) {
            report_note(r, tool_note, rate, r->tool.busiest * 100);
            noted = true;
        }
        if (!go_on)
            break;
        knee_tell(&knee, step.held);
    }
    if (found) {
        keep(r, &best);
        r->rate = r->knee;
    }
    return r->step_count > 0;
}
