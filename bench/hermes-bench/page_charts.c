#include "knee.h"
#include "page.h"
#include "plot.h"
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* More than a chart has pixels across would only make the page heavy. */
enum { COLUMNS = 400 };

struct series {
    size_t n;
    double x[COLUMNS + 1], y[COLUMNS + 1];
    double least, most; /* of y; of those above zero */
};

enum gather { MEAN, WORST };

static void add(struct series *s, double x, double y)
{
    if (s->n > COLUMNS)
        return;
    s->x[s->n] = x;
    s->y[s->n++] = y;
    if (y > 0 && (s->least == 0 || y < s->least))
        s->least = y;
    if (y > s->most)
        s->most = y;
}

/* What was before the warm-up, connecting above all, would only make the rest narrow. */
static size_t first_drawn(const json_t *points, double warmup)
{
    size_t first = 0;
    while (first < json_array_size(points) &&
           report_number(json_array_get(points, first), "at_seconds") < -warmup)
        first++;
    return first;
}

/* One value of all points, by time; where there are more than columns, each column has the mean of
 * its points or the worst of them. Where no point has one, the line will be interrupted. */
static void gather(struct series *s, const json_t *report, const char *key, enum gather how)
{
    const json_t *points = json_object_get(report, "points");
    const size_t count = json_array_size(points);
    const size_t first = first_drawn(points, report_number(report, "warmup_seconds"));
    const size_t each = (count - first) / COLUMNS + 1;
    *s = (struct series){0};
    for (size_t i = first; i < count; i += each) {
        double sum = 0, worst = 0, x = NAN;
        size_t found = 0;
        for (size_t j = i; j < i + each && j < count; j++) {
            const json_t *point = json_array_get(points, j);
            const double y = report_number(point, key);
            if (isnan(x))
                x = report_number(point, "at_seconds");
            if (!isfinite(y))
                continue;
            found++;
            sum += y;
            worst = fmax(worst, y);
        }
        add(s, x, found == 0 ? NAN : how == MEAN ? sum / (double)found : worst);
    }
}

static void time_axis(struct plot *p, const struct series *s, double seconds)
{
    double from = 0, to = 1;
    for (size_t i = 0; i < s->n; i++) {
        from = fmin(from, s->x[i]); /* which pass over what is no number */
        to = i == 0 ? s->x[i] : fmax(to, s->x[i]);
    }
    if (seconds > to && seconds < to * 1.05) /* the last point is somewhat before the end */
        to = seconds;
    plot_seconds(&p->x, from, to);
    if (from < 0)
        plot_band(p, from, 0, "warm-up: not in the figures");
}

struct chart {
    const char *title, *key, *unit;
    struct human (*label)(double);
    double base;
};

/* From zero, filled. */
static void over_time(const json_t *report, FILE *out, const struct chart *c)
{
    struct series s;
    struct plot p;
    char about[200];
    gather(&s, report, c->key, MEAN);
    if (s.most <= 0 || s.n < 2)
        return;
    snprintf(about, sizeof about, "%s over time, %s%s at most", c->title, c->label(s.most).text,
        c->unit);
    plot_open(&p, out, c->title, about, NULL);
    plot_linear(&p.y, s.most, c->label, c->base);
    time_axis(&p, &s, report_number(report, "measured_seconds"));
    plot_axes(&p);
    plot_area(&p, "one", s.x, s.y, s.n);
    plot_close(&p);
}

static void latency_over_time(const json_t *report, FILE *out)
{
    static const struct plot_key keys[] = {{"one", "p99"}, {"three", "p50"}, {NULL, NULL}};
    struct series p50, p99;
    struct plot p;
    char about[200];
    gather(&p50, report, "p50", MEAN);
    gather(&p99, report, "p99", WORST);
    if (p99.most <= 0 || p99.n < 2)
        return;
    snprintf(about, sizeof about, "Latency over time: p99 from %s to %s",
        human_duration(p99.least).text, human_duration(p99.most).text);
    plot_open(&p, out, "Latency over time", about, keys);
    plot_logarithmic(&p.y, p50.least > 0 ? fmin(p50.least, p99.least) : p99.least,
        fmax(p50.most, p99.most), human_duration);
    time_axis(&p, &p99, report_number(report, "measured_seconds"));
    plot_axes(&p);
    plot_line(&p, "three", p50.x, p50.y, p50.n);
    plot_line(&p, "one", p99.x, p99.y, p99.n);
    plot_close(&p);
}

/* ---- latency by percentile ---- */

static void percentiles(struct series *s, const json_t *summary)
{
    const json_t *buckets = json_object_get(summary, "buckets");
    const double total = report_number(summary, "count");
    const size_t count = json_array_size(buckets);
    double seen = 0;
    *s = (struct series){0};
    if (!(total > 0))
        return;
    /* Beyond 99.999 % are so few that one hiccup draws the line. The last column is kept for its
     * end. */
    const double end = fmin(5, fmax(1, log10(total)));
    double next = 0, last = 0;
    for (size_t i = 0; i < count && s->n < COLUMNS && plot_part(seen / total) <= end; i++) {
        const json_t *bucket = json_array_get(buckets, i);
        const double value = json_number_value(json_array_get(bucket, 0));
        const double here = plot_part(seen / total);
        seen += json_number_value(json_array_get(bucket, 1));
        /* A bucket's value holds from the share below it to that with it, so the curve comes to
         * the value where that share begins. */
        if (i == 0 || here >= next) {
            add(s, here, value);
            next = here + end / COLUMNS;
        }
        last = value;
    }
    add(s, end, last);
}

static void percentile_dots(
    struct plot *p, const json_t *summary, const char *class_name, bool labelled)
{
    static const struct {
        const char *key, *label;
        double part;
    } dot[] = {{"p50", "50", 0.5}, {"p90", "90", 0.9}, {"p99", "99", 0.99},
        {"p99_9", "99.9", 0.999}, {"p99_99", "99.99", 0.9999}};
    char about[100];
    for (size_t i = 0; i < sizeof dot / sizeof *dot; i++) {
        const double value = report_number(summary, dot[i].key);
        if (plot_part(dot[i].part) > log10(report_number(summary, "count")) + 1e-6)
            break;
        snprintf(about, sizeof about, "%s %% within %s", dot[i].label, human_duration(value).text);
        plot_dot(p, class_name, plot_part(dot[i].part), value, about,
            labelled ? human_duration(value).text : NULL);
    }
}

static void by_percentile(const json_t *report, FILE *out)
{
    static const char *const name[] = {"latency", "connect", "served"};
    static const char *const label[] = {"message", "connect", "served again"};
    static const char *const class_name[] = {"one", "two", "three"};
    struct plot_key keys[4] = {{NULL, NULL}};
    struct series s[3];
    struct plot p;
    size_t shown = 0;
    double least = INFINITY, most = 0, end = 1;
    for (size_t i = 0; i < 3; i++) {
        percentiles(&s[i], json_object_get(report, name[i]));
        if (s[i].most <= 0)
            continue;
        keys[shown++] = (struct plot_key){class_name[i], label[i]};
        least = fmin(least, s[i].least);
        most = fmax(most, s[i].most);
        end = fmax(end, s[i].x[s[i].n - 1]);
    }
    if (shown == 0)
        return;
    plot_open(&p, out, s[0].most > 0 ? "Latency by percentile" : "Time taken by percentile",
        "By percentile: how long all but the slowest part took", shown > 1 ? keys : NULL);
    p.labels_below = shown > 1;
    plot_percentiles(&p.x, end);
    if (most < least * 8)
        plot_linear(&p.y, most * 1.2, human_duration, 1000);
    else
        plot_logarithmic(&p.y, least, most * 1.5, human_duration);
    plot_axes(&p);
    for (size_t i = 3; i-- > 0;) {
        if (s[i].most <= 0)
            continue;
        plot_line(&p, class_name[i], s[i].x, s[i].y, s[i].n);
        percentile_dots(&p, json_object_get(report, name[i]), class_name[i],
            keys[0].class_name == class_name[i]);
    }
    plot_close(&p);
}

/* ---- --find-knee ---- */

static void step_dots(struct plot *p, const json_t *steps)
{
    size_t i;
    const json_t *step;
    char about[240];
    json_array_foreach(steps, i, step)
    {
        const bool held = json_is_true(json_object_get(step, "held"));
        const double rate = report_number(step, "rate"), p99 = report_number(step, "p99");
        snprintf(about, sizeof about, "%s: p99 %s, %s %.100s", human_rate(rate).text,
            human_duration(p99).text, held ? "held" : "broke:", report_text(step, "why"));
        plot_dot(p, held ? "held" : "broke", rate, p99, about, NULL);
    }
}

void page_steps_chart(const json_t *report, FILE *out)
{
    static const struct plot_key keys[] = {{"held", "held"}, {"broke", "broke"}, {NULL, NULL}};
    const json_t *steps = json_object_get(report, "steps");
    const double knee = report_number(report, "knee");
    double low = INFINITY, high = 0, least = INFINITY, most = 0;
    size_t i;
    const json_t *step;
    struct slo slo = {.count = 0};
    struct plot p;
    char text[160];
    json_array_foreach(steps, i, step)
    {
        const double rate = report_number(step, "rate"), p99 = report_number(step, "p99");
        if (!(rate > 0) || !(p99 > 0))
            continue;
        low = fmin(low, rate);
        high = fmax(high, rate);
        least = fmin(least, p99);
        most = fmax(most, p99);
    }
    if (high <= 0)
        return;
    snprintf(text, sizeof text, "p99 by rate asked for; the highest that held was %s",
        human_rate(knee).text);
    plot_open(&p, out, "p99 by rate", text, keys);
    if (!slo_parse(&slo, report_text(report, "slo"), text, sizeof text))
        slo.count = 0;
    for (i = 0; i < slo.count; i++) {
        const double bound = (double)slo.bound[i].most / 1000;
        if (slo.bound[i].part == 0.99) { /* the objective that this chart can show */
            most = fmax(most, bound);
            least = fmin(least, bound);
        }
    }
    if (high > low * 8)
        plot_logarithmic(&p.x, low, high, human_rate);
    else
        plot_linear(&p.x, high, human_rate, 1000);
    plot_logarithmic(&p.y, least, most, human_duration);
    plot_axes(&p);
    for (i = 0; i < slo.count; i++) {
        if (slo.bound[i].part == 0.99) {
            const double bound = (double)slo.bound[i].most / 1000;
            snprintf(text, sizeof text, "objective %s", human_duration(bound).text);
            plot_across(&p, bound, text);
        }
    }
    if (knee > 0) {
        plot_down(&p, knee, human_rate(knee).text);
    }
    step_dots(&p, steps);
    plot_close(&p);
}

void page_charts(const json_t *report, FILE *out)
{
    static const struct chart before = {
        "Deliveries per second", "deliveries", "/s", human_number, 1000};
    static const struct chart after[] = {
        {"Connects per second", "connects", "/s", human_number, 1000},
        {"Connections open", "connections", "", human_number, 1000},
        {"Server: memory", "rss", "", human_bytes, 1024},
        {"Server: processors in use", "cpu", "", human_number, 1000},
    };
    by_percentile(report, out);
    over_time(report, out, &before);
    latency_over_time(report, out);
    for (size_t i = report_number(report, "totals.connects") > 0 ? 0 : 2;
         i < sizeof after / sizeof *after; i++)
        over_time(report, out, &after[i]);
}
