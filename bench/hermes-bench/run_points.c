#include <string.h>

#include "run.h"

enum { NOTES_MOST = 20 };

static void take_tally(struct lane *lane, void *user)
{
    struct run *run = user;
    tally_add(run->fresh, &lane->tally);
    tally_clear(&lane->tally);
    run->connections += lane->open;
}

static bool is_noted(const struct report *report, const char *text)
{
    size_t i;
    const json_t *note;
    json_array_foreach(report->notes, i, note)
    {
        if (json_is_string(note) && strcmp(json_string_value(note), text) == 0)
            return true;
    }
    return false;
}

static void add_faults(struct run *run)
{
    const char *said = run->fresh->said;
    faults_add(&run->report->faults, &run->fresh->faults);
    if (said[0] && json_array_size(run->report->notes) < NOTES_MOST && !is_noted(run->report, said))
        report_note(run->report, "%s", said);
}

/* What was seen in the time from `from` on, with what the server was at then. */
static struct report_point point_of(const struct run *run, const struct tally *t, uint64_t from,
    uint64_t now, const struct process_reading *then, const struct process_reading *server)
{
    double seconds = (double)(now - from) / 1e9;
    struct report_point point = {
        .at = (double)(now - run->opened) / 1e9,
        .published = (double)t->published / seconds,
        .deliveries = (double)t->deliveries / seconds,
        .connects = (double)t->connects / seconds,
        .connections = run->connections,
        .p50 = histogram_at(&t->latency, 0.5),
        .p99 = histogram_at(&t->latency, 0.99),
        .most = t->latency.most,
        .cpu = -1,
    };
    if (server) {
        point.rss = server->rss;
        point.cpu = (double)(server->cpu - then->cpu) / 1e9 / seconds;
    }
    return point;
}

static bool point_is_due(const struct run *run, uint64_t now, bool always)
{
    uint64_t since = now - run->point_at;
    if (run->closing)
        return false;
    /* Two that are close together would show nothing but noise, and a short drain, in which nothing
     * is sent, would show as a collapse. */
    return since >= (always && !run->draining ? run->every / 2 : run->every);
}

void run_collect(struct run *run, bool always)
{
    struct process_reading reading;
    struct process_reading *server = NULL;
    uint64_t now = uv_hrtime();
    uint64_t looked_at = run->looked_at;
    if (now == looked_at || (!always && now - looked_at < RUN_LOOK_NS))
        return;
    run->looked_at = now;
    run->connections = 0;
    tally_clear(run->fresh);
    fleet_call(&run->fleet, take_tally, run);
    const struct tally *t = run->fresh;
    if (t->published | t->deliveries | t->connects | t->leaves | t->faults.damaged |
        t->faults.doubled | t->faults.unconnected)
        run->moved_at = now;
    add_faults(run);
    tally_add(run->since, t);
    if (run->measuring)
        tally_add(run->measured, t);
    if (run->report->server.known && process_read((long)run->o->pid, &reading)) {
        server = &reading;
        run_note_peak(run, server);
    }
    if (now - looked_at >= RUN_LOOK_NS / 2) {
        struct report_point seen = point_of(run, t, looked_at, now, &run->server_look, server);
        uint64_t end = run->ends_at ? run->ends_at : run->waits_to;
        double left = end > now ? (double)(end - now) / 1e9 : -1;
        progress_show(&run->progress, run->doing, &seen, left);
    }
    bool due = point_is_due(run, now, always);
    if (due) {
        struct report_point point =
            point_of(run, run->since, run->point_at, now, &run->server_point, server);
        report_add_point(run->report, &point);
    }
    if (server)
        run->server_look = *server;
    if (due || always) {
        if (server)
            run->server_point = *server;
        run->point_at = now;
        tally_clear(run->since);
    }
}

void run_date_points(struct run *run)
{
    uint64_t zero = run->zero ? run->zero : uv_hrtime();
    for (size_t i = 0; i < run->report->point_count; i++)
        run->report->points[i].at -= (double)(zero - run->opened) / 1e9;
}
