/* Numbers with units, as settings write them. */
#ifndef HERMES_BASE_UNITS_H
#define HERMES_BASE_UNITS_H

#include <stdbool.h>
#include <stdint.h>

/* A whole number from 0 up. False: not one, or too big. */
bool units_number(const char *text, uint64_t *out);

/* Bytes: a whole number and perhaps k, m or g (powers of 1024; either case). */
bool units_size(const char *text, uint64_t *bytes);

/* A time: a whole or decimal number and perhaps ms, s, m or h; seconds without one. */
bool units_time(const char *text, uint64_t *ms);

#endif
