#include "progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "human.h"

void progress_init(struct progress *p, FILE *out, bool quiet)
{
    *p = (struct progress){.out = out, .on = !quiet && isatty(fileno(out))};
}

static int columns(FILE *out)
{
    struct winsize size;
    if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

void progress_show(
    struct progress *p, const char *doing, const struct report_point *point, double left)
{
    char line[512];
    if (!p->on)
        return;
    int len = snprintf(line, sizeof line, "%s", doing);
    if (left >= 0)
        len += snprintf(line + len, sizeof line - (size_t)len, ", %.0f s left", left);
    len += snprintf(line + len, sizeof line - (size_t)len, " | %s open",
        human_count((double)point->connections).text);
    if (point->connects > 0)
        len += snprintf(line + len, sizeof line - (size_t)len, " | %s connects/s",
            human_number(point->connects).text);
    if (point->published > 0 || point->deliveries > 0)
        len += snprintf(line + len, sizeof line - (size_t)len, " | %s in/s, %s out/s",
            human_number(point->published).text, human_number(point->deliveries).text);
    if (point->p99 > 0)
        len += snprintf(line + len, sizeof line - (size_t)len, " | p99 %s",
            human_duration((double)point->p99 / 1e3).text);
    if (point->cpu >= 0)
        len += snprintf(line + len, sizeof line - (size_t)len, " | server %.0f %% of a cpu, %s",
            point->cpu * 100, human_bytes((double)point->rss).text);
    /* A line that wraps could not be taken back. The few bytes that a µ has too many do no harm. */
    int most = columns(p->out) - 1;
    fprintf(p->out, "\r%.*s\x1b[K", len < most ? len : most, line);
    fflush(p->out);
    p->shown = true;
}

void progress_clear(struct progress *p)
{
    if (!p->shown)
        return;
    fputs("\r\x1b[K", p->out);
    fflush(p->out);
    p->shown = false;
}
