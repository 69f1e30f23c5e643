#include "page.h"

#include "human.h"
#include "plot.h"
#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void head(const json_t *report, FILE *out)
{
    const double warmup = report_number(report, "warmup_seconds");
    char verdict[400];
    size_t i;
    const json_t *note;

    /* The policy has the browser see to it that the page asks nobody for anything. */
    fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
          "style-src 'unsafe-inline'\">\n<title>",
        out);
    plot_text(out, report_text(report, "scenario"));
    fputs(" · hermes-bench · ", out);
    plot_text(out, report_text(report, "started"));
    fprintf(out,
        "</title>\n<style>\n%s</style></head>\n<body><main>\n<p class=\"over\">hermes-bench · ",
        page_style);
    plot_text(out, report_text(report, "started"));
    fputs("</p>\n<h1>", out);
    plot_text(out, report_text(report, "scenario"));
    fputs("</h1>\n<p class=\"under\">", out);
    plot_text(out, report_text(report, "url"));
    fprintf(out, " · %s", human_seconds(report_number(report, "measured_seconds")).text);
    if (warmup > 0)
        fprintf(out, " after %s of warm-up", human_seconds(warmup).text);
    fputs("</p>\n", out);
    const bool clean = report_verdict(report, verdict, sizeof verdict);
    fprintf(out, "<p class=\"verdict%s\">%s", clean ? "" : " bad", clean ? "✓ " : "✗ ");
    plot_text(out, verdict);
    fputs("</p>\n", out);
    const json_t *notes = json_object_get(report, "notes");
    if (json_array_size(notes) == 0)
        return;
    fputs("<div class=\"notes\">\n", out);
    json_array_foreach(notes, i, note)
    {
        fputs("<p>", out);
        plot_text(out, json_string_value(note) ? json_string_value(note) : "");
        fputs("</p>\n", out);
    }
    fputs("</div>\n", out);
}

static void tiles(const json_t *report, FILE *out)
{
    static const struct {
        const char *path, *label;
        struct human (*form)(double);
    } tile[] = {
        {"knee", "highest rate that held", human_rate},
        {"rates.deliveries", "delivered", human_rate},
        {"rates.connects", "connected", human_rate},
        {"latency.p50", "latency p50", human_duration},
        {"latency.p99", "latency p99", human_duration},
        {"latency.p99_99", "latency p99.99", human_duration},
        {"connect.p99", "connect p99", human_duration},
        {"served.max", "served, slowest", human_duration},
        {"server.cpu_per_delivery", "CPU per delivery", human_duration},
        {"server.cpu_per_connect", "CPU per connect", human_duration},
        {"server.rss_per_connection", "memory per connection", human_bytes},
    };
    fputs("<dl class=\"tiles\">\n", out);
    for (size_t i = 0; i < sizeof tile / sizeof *tile; i++) {
        const double value = report_number(report, tile[i].path);
        if (isfinite(value) && value != 0)
            fprintf(out, "<div><dt>%s</dt><dd>%s</dd></div>\n", tile[i].label,
                tile[i].form(value).text);
    }
    fputs("</dl>\n", out);
}

static void summary_row(const json_t *of, FILE *out, const char *label)
{
    static const char *const column[] = {
        "min", "p50", "p75", "p90", "p99", "p99_9", "p99_99", "max", "mean"};
    if (!of)
        return;
    fprintf(out, "<tr><td>%s</td><td>%s</td>", label, human_count(report_number(of, "count")).text);
    for (size_t i = 0; i < sizeof column / sizeof *column; i++)
        fprintf(out, "<td>%s</td>", human_duration(report_number(of, column[i])).text);
    fputs("</tr>\n", out);
}

static void summaries(const json_t *report, FILE *out)
{
    fputs(
        "<h2>Durations</h2>\n<div class=\"card scroll\"><table>\n<tr><th></th><th>count</th>"
        "<th>min</th><th>p50</th><th>p75</th><th>p90</th><th>p99</th><th>p99.9</th><th>p99.99</th>"
        "<th>max</th><th>mean</th></tr>\n",
        out);
    summary_row(json_object_get(report, "latency"), out, "latency");
    summary_row(json_object_get(report, "connect"), out, "connect");
    summary_row(json_object_get(report, "served"), out, "served");
    summary_row(json_object_get(json_object_get(report, "tool"), "late"), out, "sent late");
    fputs("</table></div>\n", out);
}

static void steps(const json_t *report, FILE *out)
{
    const json_t *list = json_object_get(report, "steps");
    size_t i;
    const json_t *step;
    if (json_array_size(list) == 0)
        return;
    fputs("<h2>Search for the highest rate that holds ", out);
    plot_text(out, report_text(report, "slo"));
    fputs("</h2>\n<div class=\"charts steps\">\n", out);
    page_steps_chart(report, out);
    fputs("<div class=\"card scroll\"><table>\n<tr><th>asked</th><th>delivered</th><th>p50</th>"
          "<th>p99</th><th class=\"minor\">p99.9</th><th class=\"minor\">max</th><th></th></tr>\n",
        out);
    json_array_foreach(list, i, step)
    {
        const bool held = json_is_true(json_object_get(step, "held"));
        fprintf(out, "<tr><td>%s</td><td>%s</td>", human_rate(report_number(step, "rate")).text,
            human_rate(report_number(step, "delivered")).text);
        fprintf(out, "<td>%s</td><td>%s</td>", human_duration(report_number(step, "p50")).text,
            human_duration(report_number(step, "p99")).text);
        fprintf(out,
            "<td class=\"minor\">%s</td><td class=\"minor\">%s</td><td class=\"%s\" title=\"",
            human_duration(report_number(step, "p99_9")).text,
            human_duration(report_number(step, "max")).text, held ? "held" : "broke");
        plot_text(out, report_text(step, "why"));
        fprintf(out, "\">%s</td></tr>\n", held ? "held" : "broke");
    }
    fputs("</table></div>\n</div>\n", out);
}

static void pair(FILE *out, const char *label, const char *value)
{
    fputs("<tr><th>", out);
    plot_text(out, label);
    fputs("</th><td>", out);
    plot_text(out, value);
    fputs("</td></tr>\n", out);
}

/* Every scalar of an object; a number by what its key says it is. */
static void pairs(FILE *out, const char *title, json_t *object)
{
    static const struct {
        const char *key;
        struct human (*form)(double);
    } special[] = {{"memory", human_bytes}, {"rss_before", human_bytes}, {"rss_after", human_bytes},
        {"rss_peak", human_bytes}, {"rss_per_connection", human_bytes},
        {"delivered_bytes", human_bytes}, {"cpu", human_duration},
        {"cpu_per_delivery", human_duration}, {"cpu_per_connect", human_duration},
        {"busiest", human_share}, {"machine", human_share}};
    const char *key;
    json_t *value;
    if (json_object_size(object) == 0)
        return;
    fputs("<div class=\"card\"><h3>", out);
    plot_text(out, title);
    fputs("</h3><table>\n", out);
    json_object_foreach(object, key, value)
    {
        struct human form =
            json_is_real(value) ? human_number(json_real_value(value)) : human_setting(value);
        if (json_is_object(value) || json_is_array(value))
            continue;
        for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
            if (json_is_number(value) && strcmp(key, special[i].key) == 0)
                form = special[i].form(json_number_value(value));
        }
        if (strcmp(key, "pid") == 0)
            snprintf(
                form.text, sizeof form.text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        /* A text whole, for the page has room. */
        pair(
            out, human_key(key).text, json_is_string(value) ? json_string_value(value) : form.text);
    }
    fputs("</table></div>\n", out);
}

static void page(const json_t *report, FILE *out)
{
    head(report, out);
    tiles(report, out);
    fputs("<div class=\"charts\">\n", out);
    page_charts(report, out);
    fputs("</div>\n", out);
    steps(report, out);
    summaries(report, out);
    fputs("<h2>Run</h2>\n<div class=\"pairs\">\n", out);
    pairs(out, "Settings", json_object_get(report, "settings"));
    pairs(out, "Totals", json_object_get(report, "totals"));
    pairs(out, "Server", json_object_get(report, "server"));
    pairs(out, "This tool", json_object_get(report, "tool"));
    pairs(out, "Machine", json_object_get(report, "machine"));
    pairs(out, "Faults", json_object_get(report, "faults"));
    fputs("</div>\n<footer>Latency counts from the moment a message was due to be sent, not from "
          "when it was. hermes-bench ",
        out);
    plot_text(out, report_text(report, "version"));
    fputs("</footer>\n</main></body></html>\n", out);
}

bool report_page(const json_t *report, const char *path)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        return false;
    page(report, out);
    const bool whole = !ferror(out);
    if (fclose(out) || !whole) {
        free(text);
        errno = ENOMEM;
        return false;
    }
    const bool ok = report_save(path, text, length);
    free(text);
    return ok;
}
