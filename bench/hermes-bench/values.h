/* Numbers of the command line. */
#ifndef HERMES_BENCH_VALUES_H
#define HERMES_BENCH_VALUES_H

#include <stdbool.h>

enum value_kind {
    VALUE_TEXT,
    VALUE_FLAG,
    VALUE_COUNT,
    VALUE_SIZE, /* k, m */
    VALUE_NUMBER,
    VALUE_SECONDS, /* ms, s, m, h */
    VALUE_SHARE,   /* 0.1 or 10% */
};

/* Of the last five kinds. False when it is not one. */
bool value_read(enum value_kind kind, const char *text, double *out);

/* What the kind looks like, for whoever gave something else. */
const char *value_wanted(enum value_kind kind);

#endif
