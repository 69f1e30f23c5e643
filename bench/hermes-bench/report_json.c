/* The report as JSON.
 *
 * Durations are microseconds, unless a key ends in _seconds; sizes are bytes; rates are per second;
 * shares are 0 to 1. What a scenario does not have is left out.
 *
 *   hermes_bench      1, the number of this shape; raised when a key changes its meaning
 *   version           of the tool
 *   scenario, url, started (RFC 3339, UTC), warmup_seconds, measured_seconds
 *   settings          an object: what was asked for
 *   machine           processors, cpu, kernel, memory
 *   saturating        whether a window was kept full; else
 *   rate              what was asked for
 *   totals, rates     published, deliveries, delivered_bytes, connects, leaves
 *   unsent            messages that were due but never sent
 *   latency, connect, served   each a summary: count, min, mean, p50, p75, p90, p99, p99_9, p99_99,
 *                     max, and buckets, an array of [highest value, count] of those not empty
 *   clean             whether nothing is in
 *   faults            lost, doubled, reordered, disordered, damaged, refused, closed, unconnected,
 *                     misnumbered, unrecovered
 *   server            pid, cpu, processors, cpu_per_delivery, cpu_per_connect, rss_before,
 *                     rss_after, rss_peak, connections, rss_per_connection
 *   tool              threads, cpu, busiest, machine, late (a summary)
 *   points            an array: at_seconds (negative before the measurement), published,
 *                     deliveries, connects, connections, p50, p99, max, rss, cpu (in processors)
 *   slo, knee, steps  of --find-knee; steps: rate, delivered, p50, p99, p99_9, max, held, why
 *   rounds            of storm: an array, how many seconds it took until all were served again
 *   recovery          of storm --recover: messages, cpu, cpu_per_message, rss_before, rss_peak,
 *                     rss_after
 *   notes             an array of texts */
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* jansson has no value for want of memory, none for a number that is none, and none for a text that
 * is not UTF-8; the first ends the program, the others become what can be written. */
static void put(json_t *object, const char *key, json_t *value)
{
    if (!value || json_object_set_new(object, key, value)) {
        fputs("hermes-bench: out of memory\n", stderr);
        exit(70);
    }
}

static void put_real(json_t *object, const char *key, double value)
{
    put(object, key, json_real(isfinite(value) ? value : 0));
}

static void put_count(json_t *object, const char *key, uint64_t value)
{
    put(object, key, json_integer((json_int_t)value));
}

static void put_text(json_t *object, const char *key, const char *text)
{
    json_t *value = json_string(text);
    if (!value) {
        char ascii[320];
        size_t length = strnlen(text, sizeof ascii);
        for (size_t i = 0; i < length; i++)
            ascii[i] = (char)((unsigned char)text[i] < 128 ? text[i] : '?');
        value = json_stringn(ascii, length);
    }
    put(object, key, value);
}

static double us(uint64_t ns)
{
    return (double)ns / 1000;
}

static json_t *buckets_json(const struct histogram *h)
{
    json_t *array = json_array();
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        const uint64_t high = histogram_high(i);
        if (h->count[i])
            json_array_append_new(array,
                json_pack("[f,I]", us(high < h->most ? high : h->most), (json_int_t)h->count[i]));
    }
    return array;
}

static void put_summary(json_t *object, const char *key, const struct histogram *h)
{
    static const struct {
        const char *key;
        double part;
    } at[] = {{"p50", 0.5}, {"p75", 0.75}, {"p90", 0.9}, {"p99", 0.99}, {"p99_9", 0.999},
        {"p99_99", 0.9999}};
    if (h->total == 0)
        return;
    json_t *summary = json_object();
    put(object, key, summary);
    put_count(summary, "count", h->total);
    put_real(summary, "min", us(h->least));
    put_real(summary, "mean", histogram_mean(h) / 1000);
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        put_real(summary, at[i].key, us(histogram_at(h, at[i].part)));
    put_real(summary, "max", us(h->most));
    put(summary, "buckets", buckets_json(h));
}

static json_t *machine_json(void)
{
    json_t *machine = json_object();
    struct utsname name;
    char cpu[200] = "", line[512], kernel[160];

    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && !cpu[0] && fgets(line, sizeof line, file)) {
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':'))
            snprintf(cpu, sizeof cpu, "%s", strchr(line, ':') + 2);
    }
    if (file)
        fclose(file);
    cpu[strcspn(cpu, "\n")] = '\0';
    put_count(machine, "processors", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
    put_text(machine, "cpu", cpu[0] ? cpu : "unknown");
    if (uname(&name) == 0) {
        snprintf(
            kernel, sizeof kernel, "%.60s %.60s %.30s", name.sysname, name.release, name.machine);
        put_text(machine, "kernel", kernel);
    }
    put_count(
        machine, "memory", (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
    return machine;
}

static void put_totals(json_t *report, const struct report *r)
{
    const struct {
        const char *key;
        uint64_t total;
    } of[] = {{"published", r->published}, {"deliveries", r->deliveries},
        {"delivered_bytes", r->delivered_bytes}, {"connects", r->connects}, {"leaves", r->leaves}};
    json_t *totals = json_object(), *rates = json_object();
    put(report, "totals", totals);
    put(report, "rates", rates);
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        put_count(totals, of[i].key, of[i].total);
        put_real(rates, of[i].key, r->seconds > 0 ? (double)of[i].total / r->seconds : 0);
    }
}

static void put_faults(json_t *report, const struct report_faults *f)
{
    json_t *faults = json_object();
    put(report, "faults", faults);
    put_count(faults, "lost", f->lost);
    put_count(faults, "doubled", f->doubled);
    put_count(faults, "reordered", f->reordered);
    put_count(faults, "disordered", f->disordered);
    put_count(faults, "damaged", f->damaged);
    put_count(faults, "refused", f->refused);
    put_count(faults, "closed", f->closed);
    put_count(faults, "unconnected", f->unconnected);
    put_count(faults, "misnumbered", f->misnumbered);
    put_count(faults, "unrecovered", f->unrecovered);
}

static void put_server(json_t *report, const struct report *r)
{
    if (!r->server.known)
        return;
    json_t *server = json_object();
    put(report, "server", server);
    put_count(server, "pid", (uint64_t)r->server.pid);
    put_count(server, "rss_before", r->server.rss_before);
    put_count(server, "rss_peak", r->server.rss_peak);
    if (r->server.gone)
        return;
    if (r->server.rss_after == 0) /* it did not come to measuring */
        return;
    put_count(server, "rss_after", r->server.rss_after);
    put_real(server, "cpu", us(r->server.cpu));
    if (r->seconds > 0)
        put_real(server, "processors", (double)r->server.cpu / 1e9 / r->seconds);
    /* Only where it is nearly all that the server did. */
    if (r->deliveries > 100 * r->connects)
        put_real(server, "cpu_per_delivery", us(r->server.cpu) / (double)r->deliveries);
    if (r->connects && r->deliveries <= r->connects)
        put_real(server, "cpu_per_connect", us(r->server.cpu) / (double)r->connects);
    if (r->server.connections) {
        const double grown = (double)r->server.rss_after - (double)r->server.rss_before;
        put_count(server, "connections", r->server.connections);
        put_real(server, "rss_per_connection", grown / (double)r->server.connections);
    }
}

static void put_tool(json_t *report, const struct report *r)
{
    json_t *tool = json_object();
    put(report, "tool", tool);
    put_count(tool, "threads", r->tool.threads);
    put_real(tool, "cpu", us(r->tool.cpu));
    put_real(tool, "busiest", r->tool.busiest);
    put_real(tool, "machine", r->tool.machine);
    put_summary(tool, "late", &r->tool.late);
}

static void put_points(json_t *report, const struct report *r)
{
    json_t *points = json_array();
    put(report, "points", points);
    for (size_t i = 0; i < r->point_count; i++) {
        const struct report_point *p = &r->points[i];
        json_t *point = json_object();
        put_real(point, "at_seconds", p->at);
        put_real(point, "published", p->published);
        put_real(point, "deliveries", p->deliveries);
        put_real(point, "connects", p->connects);
        put_count(point, "connections", p->connections);
        put_real(point, "p50", us(p->p50));
        put_real(point, "p99", us(p->p99));
        put_real(point, "max", us(p->most));
        if (p->rss)
            put_count(point, "rss", p->rss);
        if (p->cpu >= 0)
            put_real(point, "cpu", p->cpu);
        json_array_append_new(points, point);
    }
}

static void put_steps(json_t *report, const struct report *r)
{
    if (r->slo[0])
        put_text(report, "slo", r->slo);
    if (r->step_count == 0)
        return;
    json_t *steps = json_array();
    put_real(report, "knee", r->knee);
    put(report, "steps", steps);
    for (size_t i = 0; i < r->step_count; i++) {
        const struct report_step *s = &r->steps[i];
        json_t *step = json_object();
        put_real(step, "rate", s->rate);
        put_real(step, "delivered", s->delivered);
        put_real(step, "p50", us(s->p50));
        put_real(step, "p99", us(s->p99));
        put_real(step, "p99_9", us(s->p999));
        put_real(step, "max", us(s->most));
        put(step, "held", json_boolean(s->held));
        if (s->why[0])
            put_text(step, "why", s->why);
        json_array_append_new(steps, step);
    }
}

static void put_rounds(json_t *report, const struct report *r)
{
    if (r->round_count == 0)
        return;
    json_t *rounds = json_array();
    put(report, "rounds", rounds);
    for (size_t i = 0; i < r->round_count; i++)
        json_array_append_new(rounds, json_real(r->rounds[i]));
}

static void put_recovery(json_t *report, const struct report *r)
{
    if (!r->recovery.measured)
        return;
    json_t *recovery = json_object();
    put(report, "recovery", recovery);
    put_count(recovery, "messages", r->recovery.messages);
    if (!r->server.known || r->server.gone)
        return;
    put_real(recovery, "cpu", us(r->recovery.cpu));
    if (r->recovery.messages)
        put_real(recovery, "cpu_per_message", us(r->recovery.cpu) / (double)r->recovery.messages);
    put_count(recovery, "rss_before", r->recovery.rss_before);
    put_count(recovery, "rss_peak", r->recovery.rss_peak);
    put_count(recovery, "rss_after", r->recovery.rss_after);
}

json_t *report_json(const struct report *r)
{
    json_t *report = json_object();
    put(report, "hermes_bench", json_integer(REPORT_SHAPE));
    put_text(report, "version", HERMES_VERSION);
    put_text(report, "scenario", r->scenario);
    put_text(report, "url", r->url);
    put_text(report, "started", r->started);
    put_real(report, "warmup_seconds", r->warmup);
    put_real(report, "measured_seconds", r->seconds);
    put(report, "settings", json_deep_copy(r->settings));
    put(report, "machine", machine_json());
    put(report, "saturating", json_boolean(r->saturating));
    if (r->rate > 0)
        put_real(report, "rate", r->rate);
    put_totals(report, r);
    if (r->unsent)
        put_count(report, "unsent", r->unsent);
    put_summary(report, "latency", &r->latency);
    put_summary(report, "connect", &r->connect);
    put_summary(report, "served", &r->served);
    put(report, "clean", json_boolean(report_is_clean(r)));
    put_faults(report, &r->faults);
    put_server(report, r);
    put_tool(report, r);
    put_points(report, r);
    put_steps(report, r);
    put_rounds(report, r);
    put_recovery(report, r);
    put(report, "notes", json_deep_copy(r->notes));
    return report;
}
