/* The parts of the HTML page. Each writes what the report has and nothing where it has nothing. */
#ifndef HERMES_BENCH_PAGE_H
#define HERMES_BENCH_PAGE_H

#include <jansson.h>
#include <stdio.h>

extern const char page_style[];

void page_charts(const json_t *report, FILE *out);
void page_steps_chart(const json_t *report, FILE *out);

#endif
