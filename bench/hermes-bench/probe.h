/* Whether there is a Hermes at the URL: one connection, up to the greeting, and closed again. */
#ifndef HERMES_BENCH_PROBE_H
#define HERMES_BENCH_PROBE_H

#include <stdbool.h>
#include <stddef.h>

/* False with one line in `fault`. `source` may be NULL. */
bool probe(const char *url, const char *source, unsigned level, char *fault, size_t fault_size);

#endif
