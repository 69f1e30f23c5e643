#include "human.h"
#include "lines.h"
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of a storm, one by one. The slowest is in "served" too. */
enum { ROUNDS_MOST = 20 };

bool report_verdict(const json_t *report, char *text, size_t size)
{
    static const char *const fault[][2] = {{"lost", "lost"}, {"doubled", "doubled"},
        {"reordered", "reordered"}, {"disordered", "in another order than at others"},
        {"damaged", "damaged"}, {"refused", "answered with an error"},
        {"closed", "connections closed"}, {"unconnected", "connections never made"},
        {"misnumbered", "with an offset that did not follow"}, {"unrecovered", "not recovered"}};
    const json_t *faults = json_object_get(report, "faults");
    size_t used = 0;
    for (size_t i = 0; i < sizeof fault / sizeof *fault; i++) {
        const double count = report_number(faults, fault[i][0]);
        if (!(count > 0) || used >= size)
            continue;
        used += (size_t)snprintf(text + used, size - used, "%s%s %s", used ? ", " : "",
            human_count(count).text, fault[i][1]);
    }
    if (used)
        return false;
    if (!json_is_true(json_object_get(report, "clean"))) {
        snprintf(text, size, "not clean, by faults that this version does not know");
        return false;
    }
    snprintf(text, size, "%s",
        report_number(report, "totals.deliveries") > 0 ? "nothing lost, doubled or reordered"
                                                       : "every connection was made and stood");
    return true;
}

static void head(const json_t *report, FILE *out)
{
    struct lines l = {out, 0};
    const char *key;
    const json_t *value;
    char text[160];
    const double warmup = report_number(report, "warmup_seconds");

    putc('\n', out);
    lines_start(&l, report_text(report, "scenario"));
    lines_add(&l, report_text(report, "url"), "");
    snprintf(text, sizeof text, "%s%s",
        human_seconds(report_number(report, "measured_seconds")).text,
        warmup > 0 ? "" : ", without warm-up");
    if (warmup > 0)
        snprintf(text + strlen(text), sizeof text - strlen(text), " after %s of warm-up",
            human_seconds(warmup).text);
    lines_add(&l, text, "  ");
    lines_end(&l);
    json_t *settings = json_object_get(report, "settings");
    if (json_object_size(settings) == 0)
        return;
    lines_start(&l, "");
    json_object_foreach(settings, key, value)
    {
        if (strcmp(key, "pid") == 0)
            continue;
        snprintf(text, sizeof text, "%s %s", human_key(key).text, human_setting(value).text);
        lines_add(&l, text, " · ");
    }
    lines_end(&l);
}

static void total(const json_t *report, FILE *out, const char *key, const char *label)
{
    const json_t *totals = json_object_get(report, "totals");
    const json_t *rates = json_object_get(report, "rates");
    const double count = report_number(totals, key);
    if (!(count > 0))
        return;
    fputs("  ", out);
    human_pad(out, label, -(LINES_INDENT - 2));
    human_pad(out, human_count(count).text, 15);
    human_pad(out, human_rate(report_number(rates, key)).text, 12);
    if (strcmp(key, "deliveries") == 0 && report_number(rates, "delivered_bytes") > 0)
        fprintf(out, "   %s/s", human_bytes(report_number(rates, "delivered_bytes")).text);
    putc('\n', out);
}

static void summary(const json_t *of, FILE *out, const char *label, bool *titled)
{
    static const char *const column[][2] = {{"p50", "p50"}, {"p90", "p90"}, {"p99", "p99"},
        {"p99_9", "p99.9"}, {"p99_99", "p99.99"}, {"max", "max"}, {"mean", "mean"}};
    enum { COLUMNS = sizeof column / sizeof *column, EACH = 9 };
    if (!of)
        return;
    if (!*titled) {
        fprintf(out, "\n%*s", LINES_INDENT, "");
        for (size_t i = 0; i < COLUMNS; i++)
            human_pad(out, column[i][1], EACH);
        putc('\n', out);
        *titled = true;
    }
    fputs("  ", out);
    human_pad(out, label, -(LINES_INDENT - 2));
    for (size_t i = 0; i < COLUMNS; i++)
        human_pad(out, human_duration(report_number(of, column[i][0])).text, EACH);
    putc('\n', out);
}

static void server(const json_t *of, FILE *out)
{
    struct lines l = {out, 0};
    char text[160];
    const double each = report_number(of, "cpu_per_delivery");
    const double connect = report_number(of, "cpu_per_connect");
    const double memory = report_number(of, "rss_per_connection");
    if (!of)
        return;
    lines_start(&l, "server");
    if (each > 0) {
        snprintf(text, sizeof text, "%s of CPU per delivery", human_duration(each).text);
        lines_add(&l, text, ", ");
    }
    if (connect > 0) {
        snprintf(text, sizeof text, "%s of CPU per connect", human_duration(connect).text);
        lines_add(&l, text, ", ");
    }
    if (json_object_get(of, "processors")) {
        snprintf(text, sizeof text, "%s processors in use",
            human_number(report_number(of, "processors")).text);
        lines_add(&l, text, ", ");
        lines_end(&l);
        lines_start(&l, "");
    }
    snprintf(text, sizeof text, "memory %s", human_bytes(report_number(of, "rss_before")).text);
    if (json_object_get(of, "rss_after"))
        snprintf(text, sizeof text, "memory %s → %s",
            human_bytes(report_number(of, "rss_before")).text,
            human_bytes(report_number(of, "rss_after")).text);
    lines_add(&l, text, ", ");
    snprintf(text, sizeof text, "peak %s", human_bytes(report_number(of, "rss_peak")).text);
    lines_add(&l, text, ", ");
    if (isfinite(memory)) {
        snprintf(text, sizeof text, "%s per connection", human_bytes(memory).text);
        lines_add(&l, text, ", ");
    }
    lines_end(&l);
}

static void tool(const json_t *of, FILE *out)
{
    struct lines l = {out, 0};
    char text[160];
    const double threads = report_number(of, "threads");
    if (!of)
        return;
    lines_start(&l, "this tool");
    snprintf(text, sizeof text, "%s thread%s", human_count(threads).text, threads == 1 ? "" : "s");
    lines_add(&l, text, ", ");
    snprintf(text, sizeof text, "%sbusy %s", threads == 1 ? "" : "the busiest ",
        human_share(report_number(of, "busiest")).text);
    lines_add(&l, text, ", ");
    snprintf(text, sizeof text, "the machine %s", human_share(report_number(of, "machine")).text);
    lines_add(&l, text, ", ");
    if (json_object_get(of, "late")) {
        snprintf(text, sizeof text, "sent late by %s (p99)",
            human_duration(report_number(of, "late.p99")).text);
        lines_add(&l, text, ", ");
    }
    lines_end(&l);
}

static void steps(const json_t *report, FILE *out)
{
    static const char *const column[] = {"asked", "delivered", "p50", "p99", "max"};
    const json_t *list = json_object_get(report, "steps");
    size_t i;
    const json_t *step;
    if (json_array_size(list) == 0)
        return;
    fprintf(out, "\n%*s", LINES_INDENT, "");
    for (size_t c = 0; c < sizeof column / sizeof *column; c++)
        human_pad(out, column[c], c < 2 ? 11 : 9);
    putc('\n', out);
    json_array_foreach(list, i, step)
    {
        fprintf(out, "%*s", LINES_INDENT, "");
        human_pad(out, human_rate(report_number(step, "rate")).text, 11);
        human_pad(out, human_rate(report_number(step, "delivered")).text, 11);
        human_pad(out, human_duration(report_number(step, "p50")).text, 9);
        human_pad(out, human_duration(report_number(step, "p99")).text, 9);
        human_pad(out, human_duration(report_number(step, "max")).text, 9);
        fputs(json_is_true(json_object_get(step, "held")) ? "  held\n" : "  broke\n", out);
    }
    const double knee = report_number(report, "knee");
    fputs("  knee      ", out);
    if (knee > 0)
        fprintf(out, "%s is the highest rate that held ", human_rate(knee).text);
    else
        fputs("no rate that was tried held ", out);
    human_pad(out, report_text(report, "slo"), 0);
    putc('\n', out);
}

static void rounds(const json_t *of, FILE *out)
{
    struct lines l = {out, 0};
    size_t i;
    const json_t *round;
    if (json_array_size(of) == 0)
        return;
    lines_start(&l, "rounds");
    json_array_foreach(of, i, round)
    {
        if (i == ROUNDS_MOST) {
            lines_add(&l, "…", " · ");
            break;
        }
        lines_add(&l, human_duration(json_number_value(round) * 1e6).text, " · ");
    }
    lines_end(&l);
}

static void recovery(const json_t *of, FILE *out)
{
    struct lines l = {out, 0};
    char text[200];
    if (!of)
        return;
    lines_start(&l, "recovery");
    snprintf(text, sizeof text, "%s messages came that had been missed",
        human_count(report_number(of, "messages")).text);
    lines_add(&l, text, ", ");
    if (json_object_get(of, "cpu")) {
        snprintf(text, sizeof text, "%s of the server's CPU, %s each",
            human_duration(report_number(of, "cpu")).text,
            human_duration(report_number(of, "cpu_per_message")).text);
        lines_add(&l, text, ", ");
        lines_end(&l);
        lines_start(&l, "");
        snprintf(text, sizeof text, "memory %s → %s, peak %s",
            human_bytes(report_number(of, "rss_before")).text,
            human_bytes(report_number(of, "rss_after")).text,
            human_bytes(report_number(of, "rss_peak")).text);
        lines_add(&l, text, ", ");
    }
    lines_end(&l);
}

void report_table(const json_t *report, FILE *out)
{
    size_t i;
    const json_t *note;
    char verdict[400];
    bool titled = false;

    head(report, out);
    putc('\n', out);
    total(report, out, "published", "published");
    total(report, out, "deliveries", "delivered");
    total(report, out, "connects", "connected");
    total(report, out, "leaves", "left");
    summary(json_object_get(report, "latency"), out, "latency", &titled);
    summary(json_object_get(report, "connect"), out, "connect", &titled);
    summary(json_object_get(report, "served"), out, "served", &titled);
    rounds(json_object_get(report, "rounds"), out);
    recovery(json_object_get(report, "recovery"), out);
    steps(report, out);
    putc('\n', out);
    server(json_object_get(report, "server"), out);
    tool(json_object_get(report, "tool"), out);
    json_array_foreach(json_object_get(report, "notes"), i, note)
    {
        const char *text = json_string_value(note);
        lines_paragraph(out, "note", text ? text : "");
    }
    const bool clean = report_verdict(report, verdict, sizeof verdict);
    const bool loud = !clean && isatty(fileno(out)) && !getenv("NO_COLOR");
    fputs(loud ? "\n\033[1;31m" : "\n", out);
    lines_paragraph(out, clean ? "checked" : "FAULTS", verdict);
    fputs(loud ? "\033[0m" : "", out);
}
