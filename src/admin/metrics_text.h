/* Figures in Prometheus' text format, version 0.0.4.
 *
 * What is counted is in base/metrics.def and base/histograms.def; beside those are figures that
 * are looked up when they are asked for. */
#ifndef HERMES_ADMIN_METRICS_TEXT_H
#define HERMES_ADMIN_METRICS_TEXT_H

#include "base/buf.h"

struct admin;

void metrics_write(struct buf *out, const struct admin *a);

/* What the process takes, by the usual names: process_... */
void metrics_write_process(struct buf *out);

/* The head of a metric. */
void metrics_write_head(struct buf *out, const char *name, const char *type, const char *help);

#endif
