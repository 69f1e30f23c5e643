/* Memory that the tool cannot go on without: when there is none, the program ends with a line. */
#ifndef HERMES_BENCH_MEMORY_H
#define HERMES_BENCH_MEMORY_H

#include <stddef.h>

/* Zeroed; never NULL, not even for nothing. */
void *memory_new(size_t count, size_t size);

/* As realloc; what is new is not zeroed. */
void *memory_more(void *old, size_t count, size_t size);

#endif
