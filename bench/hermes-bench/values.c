#include "values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A decimal number with one of the units behind it, or none. */
static bool read_number(
    const char *text, const char *const *units, const double *factors, double *out)
{
    char *end;
    if (!strchr("0123456789.", *text) || !*text || text[strcspn(text, "xXnN")])
        return false;
    *out = strtod(text, &end);
    if (end == text || !isfinite(*out))
        return false;
    if (!*end)
        return true;
    for (size_t i = 0; units[i]; i++)
        if (strcmp(end, units[i]) == 0) {
            *out *= factors[i];
            return true;
        }
    return false;
}

static const char *const no_units[] = {NULL};
static const char *const size_units[] = {"k", "m", NULL};
static const double size_factors[] = {1 << 10, 1 << 20};
static const char *const time_units[] = {"ms", "s", "m", "h", NULL};
static const double time_factors[] = {0.001, 1, 60, 3600};

const char *value_wanted(enum value_kind kind)
{
    switch (kind) {
    case VALUE_COUNT:
        return "a whole number";
    case VALUE_SIZE:
        return "bytes, or with k or m";
    case VALUE_SECONDS:
        return "seconds, or with ms, s, m or h";
    case VALUE_SHARE:
        return "a share, as 0.1 or 10%";
    default:
        return "a number";
    }
}

bool value_read(enum value_kind kind, const char *text, double *out)
{
    static const char *const percent[] = {"%", NULL};
    static const double hundredth[] = {0.01};
    switch (kind) {
    case VALUE_COUNT:
        return read_number(text, no_units, NULL, out) && *out == floor(*out);
    case VALUE_SIZE:
        return read_number(text, size_units, size_factors, out) && *out == floor(*out);
    case VALUE_SECONDS:
        return read_number(text, time_units, time_factors, out);
    case VALUE_SHARE:
        return read_number(text, percent, hundredth, out);
    default:
        return read_number(text, no_units, NULL, out);
    }
}
