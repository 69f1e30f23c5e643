#include "human.h"
#include "report.h"

#include <math.h>
#include <string.h>

enum better { NEITHER, LESS, MORE, MORE_IF_FULL };

static const struct figure {
    const char *path, *label;
    struct human (*form)(double);
    enum better better;
} figures[] = {
    {"knee", "highest rate that held", human_rate, MORE},
    {"rates.published", "published", human_rate, NEITHER},
    {"rates.deliveries", "delivered", human_rate, MORE_IF_FULL},
    {"rates.connects", "connected", human_rate, MORE_IF_FULL},
    {"latency.p50", "latency p50", human_duration, LESS},
    {"latency.p90", "latency p90", human_duration, LESS},
    {"latency.p99", "latency p99", human_duration, LESS},
    {"latency.p99_9", "latency p99.9", human_duration, LESS},
    {"latency.p99_99", "latency p99.99", human_duration, LESS},
    {"latency.max", "latency max", human_duration, LESS},
    {"latency.mean", "latency mean", human_duration, LESS},
    {"connect.p50", "connect p50", human_duration, LESS},
    {"connect.p99", "connect p99", human_duration, LESS},
    {"connect.max", "connect max", human_duration, LESS},
    {"served.p50", "served p50", human_duration, LESS},
    {"served.p99", "served p99", human_duration, LESS},
    {"served.max", "served max", human_duration, LESS},
    {"server.cpu_per_delivery", "CPU per delivery", human_duration, LESS},
    {"server.cpu_per_connect", "CPU per connect", human_duration, LESS},
    {"server.processors", "processors in use", human_number, NEITHER},
    {"server.rss_peak", "memory, peak", human_bytes, LESS},
    {"server.rss_per_connection", "memory per connection", human_bytes, LESS},
    {"tool.busiest", "this tool, busiest", human_share, NEITHER},
};

/* ---- what makes the two hard to compare ---- */

static void differs(FILE *out, const char *what, const char *a, const char *b)
{
    fputs("  differs: ", out);
    human_pad(out, what, 0);
    fputs(": ", out);
    human_pad(out, a, 0);
    fputs(" and ", out);
    human_pad(out, b, 0);
    putc('\n', out);
}

static void compare_texts(const json_t *a, const json_t *b, const char *key, FILE *out)
{
    if (strcmp(report_text(a, key), report_text(b, key)) != 0)
        differs(out, key, report_text(a, key), report_text(b, key));
}

/* Of two objects: whatever is in one and not the same in the other. */
static void compare_objects(const json_t *a, const json_t *b, FILE *out)
{
    const char *key;
    json_t *value;
    json_t *all = json_copy(b);
    json_object_update_missing(all, (json_t *)(uintptr_t)a);
    json_object_foreach(all, key, value)
    {
        const json_t *in_a = json_object_get(a, key), *in_b = json_object_get(b, key);
        if (!json_equal(in_a, in_b))
            differs(out, human_key(key).text, human_setting(in_a).text, human_setting(in_b).text);
    }
    json_decref(all);
}

static void compare_runs(const json_t *a, const json_t *b, FILE *out)
{
    const double first = report_number(a, "measured_seconds");
    const double second = report_number(b, "measured_seconds");
    compare_texts(a, b, "scenario", out);
    compare_texts(a, b, "version", out);
    compare_texts(a, b, "slo", out);
    if (fabs(first - second) > 0.02 * first)
        differs(out, "measured time", human_duration(first * 1e6).text,
            human_duration(second * 1e6).text);
    compare_objects(json_object_get(a, "settings"), json_object_get(b, "settings"), out);
    compare_objects(json_object_get(a, "machine"), json_object_get(b, "machine"), out);
}

static void heading(const json_t *report, FILE *out, const char *letter)
{
    char verdict[400];
    size_t i;
    const json_t *note;
    const bool clean = report_verdict(report, verdict, sizeof verdict);
    fprintf(out, "  %s  ", letter);
    human_pad(out, report_text(report, "scenario"), 0);
    fputs("  ", out);
    human_pad(out, report_text(report, "url"), 0);
    fputs("  ", out);
    human_pad(out, report_text(report, "started"), 0);
    fprintf(out, "\n     %s%s\n", clean ? "" : "FAULTS: ", verdict);
    json_array_foreach(json_object_get(report, "notes"), i, note)
    {
        fputs("     ", out);
        human_pad(out, json_string_value(note) ? json_string_value(note) : "", 0);
        putc('\n', out);
    }
}

/* ---- the figures ---- */

static const char *who(const struct figure *f, double a, double b, bool full)
{
    /* Two runs of the same thing differ by as much. */
    const bool same = fabs(a - b) <= 0.02 * fmax(fabs(a), fabs(b));
    if (f->better == NEITHER || (f->better == MORE_IF_FULL && !full))
        return "";
    if (same)
        return "same";
    return (a < b) == (f->better == LESS) ? "A better" : "B better";
}

void report_compare(const json_t *a, const json_t *b, FILE *out)
{
    const bool full = json_is_true(json_object_get(a, "saturating")) &&
                      json_is_true(json_object_get(b, "saturating"));
    putc('\n', out);
    heading(a, out, "A");
    heading(b, out, "B");
    compare_runs(a, b, out);
    fputs("\n  ", out);
    human_pad(out, "", -26);
    human_pad(out, "A", 12);
    human_pad(out, "B", 12);
    human_pad(out, "B/A", 10);
    putc('\n', out);
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        const struct figure *f = &figures[i];
        const double first = report_number(a, f->path), second = report_number(b, f->path);
        const bool both = isfinite(first) && isfinite(second);
        char ratio[24] = "–";
        if ((!isfinite(first) || first == 0) && (!isfinite(second) || second == 0))
            continue;
        if (both && first != 0)
            snprintf(ratio, sizeof ratio, "%.2f", second / first);
        fputs("  ", out);
        human_pad(out, f->label, -26);
        human_pad(out, f->form(first).text, 12);
        human_pad(out, f->form(second).text, 12);
        human_pad(out, ratio, 10);
        fprintf(out, "%s%s\n", both && *who(f, first, second, full) ? "  " : "",
            both ? who(f, first, second, full) : "");
    }
    putc('\n', out);
}
