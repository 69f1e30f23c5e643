/* Whether there is a Hermes at the URL: one connection, up to the greeting, and closed again. */
#ifndef HERMES_BENCH_PROBE_H
#define HERMES_BENCH_PROBE_H

#include <stdbool.h>
#include <stddef.h>

struct options;

/* False with one line in `fault`. */
bool probe(const struct options *o, char *fault, size_t fault_size);

#endif
