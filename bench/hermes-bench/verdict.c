#include "run.h"

#include <unistd.h>

#include "human.h"

static const double BUSY = 0.9;
static const double FULL = 0.97;
static const double HALF = 0.5;
static const double LATE_SHARE = 0.25;     /* of the p99 latency */
static const uint64_t LATE_LEAST = 200000; /* ns; below, it is the machine's usual hesitation */

static void judge_lateness(const struct run *run)
{
    struct report *r = run->report;
    uint64_t late = histogram_at(&r->tool.late, 0.99);
    uint64_t latency = histogram_at(&r->latency, 0.99);
    if (latency == 0 || late < LATE_LEAST || (double)late < LATE_SHARE * (double)latency)
        return;
    const char *advice = r->tool.machine > FULL ? "This machine's processors were all in use: give "
                                                  "the server or the tool one of its own."
                         : r->tool.busiest > HALF
                             ? "Try more --threads."
                             : "It was not busy: something else here had the processor.";
    report_note(r, "The tool itself sent late: p99 %s, where the p99 of the latency is %s. %s",
        human_duration((double)late / 1e3).text, human_duration((double)latency / 1e3).text,
        advice);
}

void run_judge_tool(struct run *run)
{
    struct report *r = run->report;
    unsigned processors = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    if (r->tool.busiest > BUSY && r->tool.threads < processors)
        report_note(r,
            "The tool was the limit, not the server: its busiest thread was on a processor for "
            "%.0f %% "
            "of the time. Use --threads %u.",
            r->tool.busiest * 100,
            r->tool.threads * 2 < processors ? r->tool.threads * 2 : processors);
    else if (r->tool.busiest > BUSY)
        report_note(r,
            "The tool was the limit, not the server: its busiest thread was on a processor for "
            "%.0f %% "
            "of the time, and this machine has no more of them. Run it on another machine.",
            r->tool.busiest * 100);
    else if (r->saturating && r->tool.machine > FULL)
        report_note(r,
            "This machine's processors were all in use, by the tool for %.0f %% of one: rates say "
            "little about the server alone, CPU per delivery does.",
            (double)r->tool.cpu / 1e9 / r->seconds * 100);
    judge_lateness(run);
}

bool run_judge_slo(struct run *run)
{
    char why[96];
    if (run->o->slo.count == 0 || run->o->find_knee)
        return true;
    /* What was never sent would have been the slowest. */
    if (run->report->unsent > 0)
        snprintf(why, sizeof why, "%llu messages were due but never sent",
            (unsigned long long)run->report->unsent);
    else if (slo_holds(&run->o->slo, &run->report->latency, why, sizeof why))
        return true;
    report_note(run->report, "The objective %s was missed: %s.", run->o->slo_text, why);
    return false;
}
