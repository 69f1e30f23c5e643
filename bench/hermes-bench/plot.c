#include "plot.h"

#include <math.h>

/* In units of the view box, which is as wide as a chart on a desktop; a phone shows it at about two
 * thirds, and the page's style makes the letters larger there. */
enum { WIDTH = 520, HEIGHT = 250, LEFT = 66, RIGHT = 14, TOP = 14, BOTTOM = 30 };

void plot_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case '\'':
            fputs("&#39;", out);
            break;
        default:
            putc((unsigned char)*text < ' ' || *text == 127 ? ' ' : *text, out);
        }
    }
}

void plot_open(
    struct plot *p, FILE *out, const char *title, const char *about, const struct plot_key *keys)
{
    *p = (struct plot){.out = out};
    fputs("<figure><figcaption><h3>", out);
    plot_text(out, title);
    fputs("</h3>", out);
    for (; keys && keys->label; keys++) {
        fprintf(out, "<span class=\"key %s\">", keys->class_name);
        plot_text(out, keys->label);
        fputs("</span>", out);
    }
    fprintf(out, "</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\"><title>", WIDTH, HEIGHT);
    plot_text(out, about);
    fputs("</title>\n", out);
}

void plot_close(struct plot *p)
{
    fputs("</svg></figure>\n", p->out);
}

/* ---- where things are ---- */

static double share(const struct plot_axis *axis, double value)
{
    const double low = axis->logarithmic ? log10(axis->low) : axis->low;
    const double high = axis->logarithmic ? log10(axis->high) : axis->high;
    const double at = axis->logarithmic ? log10(value) : value;
    return fmin(1, fmax(0, (at - low) / (high - low)));
}

static bool shows(const struct plot_axis *axis, double value)
{
    return isfinite(value) && (!axis->logarithmic || value > 0);
}

static double x_of(const struct plot *p, double x)
{
    return LEFT + share(&p->x, x) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct plot *p, double y)
{
    return HEIGHT - BOTTOM - share(&p->y, y) * (HEIGHT - TOP - BOTTOM);
}

void plot_axes(struct plot *p)
{
    const double bottom = HEIGHT - BOTTOM;
    for (size_t i = 0; i < p->y.count; i++) {
        const double y = y_of(p, p->y.tick[i].at);
        fprintf(p->out,
            "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text class=\"tick\" x=\"%d\" y=\"%.1f\" "
            "text-anchor=\"end\" dy=\".35em\">%s</text>\n",
            LEFT, y, WIDTH - RIGHT, LEFT - 8, y, p->y.tick[i].label.text);
    }
    fprintf(p->out, "<path class=\"axis\" d=\"M%d %.1fH%d\"/>\n", LEFT, bottom, WIDTH - RIGHT);
    for (size_t i = 0; i < p->x.count; i++) {
        const double x = x_of(p, p->x.tick[i].at);
        fprintf(p->out,
            "<path class=\"axis\" d=\"M%.1f %.1fv4\"/><text class=\"tick%s\" x=\"%.1f\" y=\"%.1f\" "
            "text-anchor=\"%s\" dy=\"1.35em\">%s</text>\n",
            x, bottom, p->x.tick[i].minor ? " minor" : "", x, bottom,
            x > WIDTH - RIGHT - 20 ? "end" : "middle", p->x.tick[i].label.text);
    }
}

/* ---- what is drawn ---- */

void plot_line(struct plot *p, const char *class_name, const double *x, const double *y, size_t n)
{
    bool within = false;
    fprintf(p->out, "<path class=\"line %s\" d=\"", class_name);
    for (size_t i = 0; i < n; i++) {
        const bool shown = shows(&p->x, x[i]) && shows(&p->y, y[i]);
        if (shown)
            fprintf(p->out, "%s%.1f %.1f", within ? "L" : "M", x_of(p, x[i]), y_of(p, y[i]));
        within = shown;
    }
    fputs("\"/>\n", p->out);
}

void plot_area(struct plot *p, const char *class_name, const double *x, const double *y, size_t n)
{
    double last = 0;
    bool within = false;
    fprintf(p->out, "<path class=\"area %s\" d=\"", class_name);
    for (size_t i = 0; i <= n; i++) {
        const bool shown = i < n && shows(&p->x, x[i]) && shows(&p->y, y[i]);
        if (within && !shown)
            fprintf(p->out, "L%.1f %dZ", last, HEIGHT - BOTTOM);
        if (shown) {
            last = x_of(p, x[i]);
            if (!within)
                fprintf(p->out, "M%.1f %d", last, HEIGHT - BOTTOM);
            fprintf(p->out, "L%.1f %.1f", last, y_of(p, y[i]));
        }
        within = shown;
    }
    fputs("\"/>\n", p->out);
    plot_line(p, class_name, x, y, n);
}

void plot_dot(struct plot *p, const char *class_name, double x, double y, const char *about,
    const char *label)
{
    if (!shows(&p->x, x) || !shows(&p->y, y))
        return;
    fprintf(p->out, "<circle class=\"dot %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>", class_name,
        x_of(p, x), y_of(p, y));
    plot_text(p->out, about);
    fputs("</title></circle>\n", p->out);
    if (!label)
        return;
    /* Above a line that rises, or below it where the axis is too near. */
    const bool below = p->labels_below || x_of(p, x) < LEFT + 50;
    fprintf(p->out, "<text class=\"mark\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">",
        x_of(p, x) + (below ? 4 : -2),
        below ? fmin(y_of(p, y) + 17, HEIGHT - BOTTOM - 4) : fmax(y_of(p, y) - 9, TOP + 2),
        below ? "start" : "end");
    plot_text(p->out, label);
    fputs("</text>\n", p->out);
}

void plot_band(struct plot *p, double from, double to, const char *label)
{
    const double x = x_of(p, from), end = x_of(p, to);
    if (!(end > x))
        return;
    fprintf(p->out, "<rect class=\"band\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"><title>",
        x, TOP, end - x, HEIGHT - TOP - BOTTOM);
    plot_text(p->out, label);
    fputs("</title></rect>\n", p->out);
}

void plot_across(struct plot *p, double y, const char *label)
{
    if (!shows(&p->y, y) || y < p->y.low || y > p->y.high)
        return;
    fprintf(p->out,
        "<path class=\"bound\" d=\"M%d %.1fH%d\"/><text class=\"mark\" x=\"%d\" y=\"%.1f\" "
        "text-anchor=\"end\">",
        LEFT, y_of(p, y), WIDTH - RIGHT, WIDTH - RIGHT, y_of(p, y) - 6);
    plot_text(p->out, label);
    fputs("</text>\n", p->out);
}

void plot_down(struct plot *p, double x, const char *label)
{
    if (!shows(&p->x, x))
        return;
    const double at = x_of(p, x);
    const bool right = at > (WIDTH + LEFT) / 2.0;
    fprintf(p->out,
        "<path class=\"bound\" d=\"M%.1f %dV%d\"/><text class=\"mark\" x=\"%.1f\" y=\"%d\" "
        "text-anchor=\"%s\">",
        at, TOP, HEIGHT - BOTTOM, at + (right ? -6 : 6), HEIGHT - BOTTOM - 8,
        right ? "end" : "start");
    plot_text(p->out, label);
    fputs("</text>\n", p->out);
}
