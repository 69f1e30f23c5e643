/* Figures in Prometheus' text format, version 0.0.4.
 *
 * What is counted is in base/metrics.def and base/histograms.def; beside those are figures that
 * are looked up when they are asked for. */
#ifndef HERMES_ADMIN_METRICS_TEXT_H
#define HERMES_ADMIN_METRICS_TEXT_H

#include "base/buf.h"
#include "base/metrics.h"

struct admin;

void metrics_write(struct buf *out, const struct admin *a);

/* One figure of all threads; all of one family; and topics, which are counted when asked for. */
int64_t metrics_sum(const struct admin *a, enum metric which);
int64_t metrics_family(const struct admin *a, const char *family);
uint64_t metrics_topics(const struct admin *a);

/* Bytes of memory that the process has; 0: unknown. */
uint64_t metrics_resident(void);

/* What the process takes, by the usual names: process_... */
void metrics_write_process(struct buf *out);

/* The head of a metric. */
void metrics_write_head(struct buf *out, const char *name, const char *type, const char *help);

#endif
