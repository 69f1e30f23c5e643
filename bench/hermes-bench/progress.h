/* One line about the run that is rewritten in place; on a terminal only. Threads: the main one. */
#ifndef HERMES_BENCH_PROGRESS_H
#define HERMES_BENCH_PROGRESS_H

#include <stdbool.h>
#include <stdio.h>

#include "report.h"

struct progress {
    FILE *out;
    bool on;
    bool shown; /* the line stands there now */
};

void progress_init(struct progress *p, FILE *out, bool quiet);

/* `doing`: what the run is at; `left`: seconds to go, negative when that is not known. */
void progress_show(
    struct progress *p, const char *doing, const struct report_point *point, double left);

/* Takes the line away, so that something else may be printed. */
void progress_clear(struct progress *p);

#endif
