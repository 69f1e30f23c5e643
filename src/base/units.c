#include "base/units.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

/* Digits up to the first other character; NULL when there are none or they do not fit. */
static const char *digits(const char *at, uint64_t *out)
{
    if (*at < '0' || *at > '9')
        return NULL;
    uint64_t n = 0;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(n, 10u, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*at - '0'), &n))
            return NULL;
    *out = n;
    return at;
}

bool units_number(const char *text, uint64_t *out)
{
    const char *end = digits(text, out);
    return end && *end == '\0';
}

bool units_size(const char *text, uint64_t *bytes)
{
    uint64_t n;
    const char *end = digits(text, &n);
    if (!end)
        return false;
    int shift = 0;
    if (*end != '\0') {
        static const char letters[] = "kmg";
        const char *letter = strchr(letters, *end | 0x20);
        if (!letter || end[1] != '\0')
            return false;
        shift = 10 * (int)(letter - letters + 1);
    }
    if (n > UINT64_MAX >> shift)
        return false;
    *bytes = n << shift;
    return true;
}

bool units_time(const char *text, uint64_t *ms)
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    uint64_t whole;
    const char *end = digits(text, &whole);
    if (!end)
        return false;
    uint64_t thousandths = 0;
    if (*end == '.') {
        uint64_t scale = 100;
        if (end[1] < '0' || end[1] > '9')
            return false;
        for (end++; *end >= '0' && *end <= '9'; end++, scale /= 10)
            thousandths += (uint64_t)(*end - '0') * scale;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcasecmp(end, units[i].name) != 0)
            continue;
        if (whole > UINT64_MAX / units[i].ms / 2)
            return false;
        *ms = whole * units[i].ms + thousandths * units[i].ms / 1000;
        return true;
    }
    return false;
}
