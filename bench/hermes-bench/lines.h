/* Words wrapped at the right margin, beside a label.
 *
 * Order: lines_start, lines_add for each, lines_end. */
#ifndef HERMES_BENCH_LINES_H
#define HERMES_BENCH_LINES_H

#include <stdio.h>

enum { LINES_WIDTH = 79, LINES_INDENT = 12 };

struct lines {
    FILE *out;
    int column;
};

void lines_start(struct lines *l, const char *label);

/* What is added at once stays on one line; `between` goes before it unless it begins a line. */
void lines_add(struct lines *l, const char *text, const char *between);
void lines_end(struct lines *l);

/* All of it, from label to end. */
void lines_paragraph(FILE *out, const char *label, const char *text);

#endif
