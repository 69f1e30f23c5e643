#include "plot.h"

#include <math.h>
#include <string.h>

/* A tick says 1.5 M and 2 M, not 1.50 M and 2.00 M. */
static struct human tidy(struct human h)
{
    char *point = strchr(h.text, '.');
    if (!point)
        return h;
    char *unit = point + 1 + strspn(point + 1, "0123456789");
    char *end = unit;
    while (end > point && (end[-1] == '0' || end[-1] == '.'))
        end--;
    memmove(end, unit, strlen(unit) + 1);
    return h;
}

static void tick(struct plot_axis *axis, double at, struct human label)
{
    if (axis->count == PLOT_TICKS)
        return;
    axis->tick[axis->count].at = at;
    axis->tick[axis->count++].label = tidy(label);
}

void plot_linear(struct plot_axis *axis, double most, struct human (*label)(double), double base)
{
    static const double round[] = {0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500};
    double unit = 1;
    size_t i = 0;
    if (!(most > 0) || most > 1e18)
        most = 1;
    while (most / unit >= base)
        unit *= base;
    while (base == 1000 && most / unit < 1 && unit > 1e-12)
        unit /= base;
    while (i < sizeof round / sizeof *round - 1 && most / unit / round[i] > 5)
        i++;
    const double step = unit * round[i];
    const int steps = (int)ceil(most / step - 1e-9);
    *axis = (struct plot_axis){.high = step * steps};
    for (int n = 0; n <= steps; n++)
        tick(axis, step * n, label(step * n));
}

void plot_logarithmic(
    struct plot_axis *axis, double least, double most, struct human (*label)(double))
{
    static const double round[] = {1, 2, 5};
    *axis = (struct plot_axis){.logarithmic = true, .low = 1, .high = 10};
    if (!(least > 0) || !(most >= least) || most > 1e18 || least < 1e-12)
        return;
    const int first = (int)floor(log10(least) + 1e-9);
    const int last = (int)ceil(log10(most) - 1e-9) + 1;
    axis->low = axis->high = 0;
    for (int decade = first; decade <= last; decade++) {
        for (size_t i = 0; i < 3; i++) {
            const double at = round[i] * pow(10, decade);
            if (at <= least * (1 + 1e-9))
                axis->low = at; /* the highest that is not above all */
            if (at >= most * (1 - 1e-9) && axis->high == 0 && at > axis->low)
                axis->high = at;
        }
    }
    const bool many = axis->high / axis->low > 55;
    for (int decade = first; decade <= last; decade++) {
        for (size_t i = 0; i < (many ? 1 : 3); i++) {
            const double at = round[i] * pow(10, decade);
            if (at >= axis->low * 0.999 && at <= axis->high * 1.001)
                tick(axis, at, label(at));
        }
    }
}

void plot_seconds(struct plot_axis *axis, double from, double to)
{
    static const double round[] = {0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120,
        300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400};
    size_t i = 0;
    *axis = (struct plot_axis){.low = from, .high = to > from ? to : from + 1};
    while (i < sizeof round / sizeof *round - 1 && (axis->high - axis->low) / round[i] > 7)
        i++;
    for (double n = ceil(axis->low / round[i]); n * round[i] <= axis->high * (1 + 1e-9); n++) {
        const double at = n * round[i] + 0.0; /* no -0 */
        struct human label;
        if (axis->count == PLOT_TICKS)
            break;
        if (round[i] >= 3600)
            snprintf(label.text, sizeof label.text, "%g h", at / 3600);
        else if (round[i] >= 60)
            snprintf(label.text, sizeof label.text, "%g min", at / 60);
        else
            snprintf(label.text, sizeof label.text, "%g s", at);
        axis->tick[axis->count].at = at;
        axis->tick[axis->count++].label = label;
    }
}

double plot_part(double part)
{
    return part < 1 ? -log10(1 - part) : HUGE_VAL;
}

void plot_percentiles(struct plot_axis *axis, double to)
{
    static const struct {
        double at; /* plot_part of what the label says */
        const char *label;
    } all[] = {{0.30103, "50 %"}, {1, "90 %"}, {2, "99 %"}, {3, "99.9 %"}, {4, "99.99 %"},
        {5, "99.999 %"}};
    *axis = (struct plot_axis){.high = to};
    for (size_t i = 0; i < sizeof all / sizeof *all && all[i].at <= to + 1e-6; i++) {
        struct human label;
        snprintf(label.text, sizeof label.text, "%s", all[i].label);
        axis->tick[axis->count].minor = all[i].at > 4;
        axis->tick[axis->count].at = all[i].at;
        axis->tick[axis->count++].label = label;
    }
}
