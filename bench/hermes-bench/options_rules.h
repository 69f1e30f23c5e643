/* Inside of the command line: which options there are, for which scenarios, within which bounds. */
#ifndef HERMES_BENCH_OPTIONS_RULES_H
#define HERMES_BENCH_OPTIONS_RULES_H

#include "options.h"
#include "values.h"

enum { OPTION_RULES = 34 };

/* Read by hand, into no one field. */
#define OPTION_ELSEWHERE SIZE_MAX

struct rule {
    const char *name;
    enum value_kind kind;
    unsigned scenarios; /* bit by bit */
    size_t at;          /* in struct options */
    double least, most;
};

extern const struct rule option_rules[];
extern const struct options option_defaults[SCENARIO_COUNT];

bool option_given(const struct options *o, const char *name);

#endif
