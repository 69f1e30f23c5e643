#include "human.h"
#include "lines.h"
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
    char text[400];
    snprintf(text, sizeof text, "%.80s: %.150s and %.150s", what, *a ? a : "none", *b ? b : "none");
    lines_paragraph(out, "  differs", text);
}

static void compare_texts(const json_t *a, const json_t *b, const char *key, FILE *out)
{
    if (strcmp(report_text(a, key), report_text(b, key)) != 0)
        differs(out, key, report_text(a, key), report_text(b, key));
}

/* Of two objects: whatever is in one and not the same in the other. A pid says nothing. */
static void compare_objects(json_t *a, json_t *b, FILE *out)
{
    const char *key;
    json_t *value;
    json_object_foreach(a, key, value)
    {
        const json_t *other = json_object_get(b, key);
        if (strcmp(key, "pid") != 0 && !json_equal(value, other))
            differs(out, human_key(key).text, human_setting(value).text, human_setting(other).text);
    }
    json_object_foreach(b, key, value)
    {
        if (strcmp(key, "pid") != 0 && !json_object_get(a, key))
            differs(out, human_key(key).text, human_setting(NULL).text, human_setting(value).text);
    }
}

static void compare_runs(const json_t *a, const json_t *b, FILE *out)
{
    const double first = report_number(a, "measured_seconds");
    const double second = report_number(b, "measured_seconds");
    compare_texts(a, b, "scenario", out);
    compare_texts(a, b, "version", out);
    compare_texts(a, b, "slo", out);
    /* Unless it is named among the settings. */
    if (fabs(first - second) > 0.02 * first &&
        !(fabs(report_number(a, "settings.seconds") - report_number(b, "settings.seconds")) > 0))
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
    struct lines l = {out, 0};
    const bool clean = report_verdict(report, verdict, sizeof verdict);
    lines_start(&l, letter);
    lines_add(&l, report_text(report, "scenario"), "");
    lines_add(&l, report_text(report, "url"), "  ");
    lines_add(&l, report_text(report, "started"), "  ");
    lines_end(&l);
    lines_paragraph(out, clean ? "" : "  FAULTS", verdict);
    json_array_foreach(json_object_get(report, "notes"), i, note)
        lines_paragraph(out, "  note", json_string_value(note) ? json_string_value(note) : "");
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
