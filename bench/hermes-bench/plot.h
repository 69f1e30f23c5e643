/* Charts as inline SVG: axes with ticks that are round figures, lines, areas and marks.
 *
 * Order: plot_open; plot_x_… and plot_y; plot_axes; what is drawn; plot_close. Colours come from
 * the page's style by class, so that light and dark are the same drawing. A value that is no
 * number, or not above zero on a logarithmic axis, is left out, and a line is interrupted there. */
#ifndef HERMES_BENCH_PLOT_H
#define HERMES_BENCH_PLOT_H

#include "human.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { PLOT_TICKS = 16 };

struct plot_axis {
    double low, high;
    bool logarithmic;
    size_t count;
    struct {
        double at;
        struct human label;
        bool minor; /* left out where it is narrow */
    } tick[PLOT_TICKS];
};

struct plot {
    FILE *out;
    struct plot_axis x, y;
    bool labels_below; /* of dots, where other lines run above them */
};

/* What the legend says, by the class that its line has. */
struct plot_key {
    const char *class_name, *label;
};

/* Text with what HTML would take for markup escaped, as all that goes into the page must be. */
void plot_text(FILE *out, const char *text);

/* `about` is for those who do not see the chart; the keys end with a NULL label. */
void plot_open(
    struct plot *p, FILE *out, const char *title, const char *about, const struct plot_key *keys);
void plot_close(struct plot *p);

/* The range grows to the ticks around it. A linear one begins at zero; its ticks are
 * round in units of 1000 or 1024, which is the base. */
void plot_linear(struct plot_axis *axis, double most, struct human (*label)(double), double base);
void plot_logarithmic(
    struct plot_axis *axis, double least, double most, struct human (*label)(double));
void plot_seconds(struct plot_axis *axis, double from, double to);
/* Of values plot_part(part): as much room for 90 to 99 % as for 99 to 99.9 %. */
void plot_percentiles(struct plot_axis *axis, double to);
double plot_part(double part);

void plot_axes(struct plot *p);

void plot_line(struct plot *p, const char *class_name, const double *x, const double *y, size_t n);
void plot_area(struct plot *p, const char *class_name, const double *x, const double *y, size_t n);
/* `about` shows where a pointer rests on it; `label`, or NULL, stands beside it. */
void plot_dot(struct plot *p, const char *class_name, double x, double y, const char *about,
    const char *label);
/* A band from one x to another, and lines across at one value. */
void plot_band(struct plot *p, double from, double to, const char *label);
void plot_across(struct plot *p, double y, const char *label);
void plot_down(struct plot *p, double x, const char *label);

#endif
