#include "knee.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- objectives ---- */

static bool time_parse(const char *text, uint64_t *ns)
{
    static const struct {
        const char *name;
        double ns;
    } unit[] = {{"ns", 1}, {"us", 1e3}, {"µs", 1e3}, {"ms", 1e6}, {"s", 1e9}};
    char *end;
    if (text[0] < '0' || text[0] > '9') /* strtod would take nan, inf and 0x as well */
        return false;
    const double value = strtod(text, &end);
    for (size_t i = 0; i < sizeof unit / sizeof *unit; i++) {
        if (strcmp(end, unit[i].name) == 0) {
            *ns = value * unit[i].ns < 1e18 ? (uint64_t)(value * unit[i].ns) : 0;
            return *ns > 0;
        }
    }
    return false;
}

static bool part_parse(const char *text, double *part)
{
    char *end;
    if (strcmp(text, "max") == 0) {
        *part = 1;
        return true;
    }
    if (text[0] != 'p' || text[1] < '0' || text[1] > '9')
        return false;
    *part = strtod(text + 1, &end) / 100;
    return !*end && *part >= 0.5 && *part < 0.999995;
}

bool slo_parse(struct slo *slo, const char *text, char *fault, size_t fault_size)
{
    char copy[96], *rest = copy;
    memset(slo, 0, sizeof *slo);
    if (strlen(text) >= sizeof copy) {
        snprintf(fault, fault_size, "an objective of more than %zu characters", sizeof copy - 1);
        return false;
    }
    memcpy(copy, text, strlen(text) + 1);
    while (rest) {
        char *name = strsep(&rest, ",");
        char *value = strchr(name, '=');
        if (slo->count == sizeof slo->bound / sizeof *slo->bound) {
            snprintf(fault, fault_size, "more than %zu objectives", slo->count);
            return false;
        }
        if (value)
            *value++ = '\0';
        if (!part_parse(name, &slo->bound[slo->count].part)) {
            snprintf(fault, fault_size, "\"%s\" is neither max nor p50 to p99.999, as in p99=50ms",
                name);
            return false;
        }
        if (!value || !time_parse(value, &slo->bound[slo->count].most)) {
            snprintf(fault, fault_size, "\"%s\" is not a time in ns, us, ms or s, as in %s=50ms",
                value ? value : "", name);
            return false;
        }
        slo->count++;
    }
    return true;
}

static void time_print(char *text, size_t size, uint64_t ns)
{
    if (ns < 1000000)
        snprintf(text, size, "%.4g us", (double)ns / 1e3);
    else if (ns < 1000000000)
        snprintf(text, size, "%.4g ms", (double)ns / 1e6);
    else
        snprintf(text, size, "%.4g s", (double)ns / 1e9);
}

bool slo_holds(const struct slo *slo, const struct histogram *latency, char *why, size_t why_size)
{
    if (latency->total == 0) {
        snprintf(why, why_size, "nothing arrived");
        return false;
    }
    for (size_t i = 0; i < slo->count; i++) {
        const double part = slo->bound[i].part;
        const uint64_t found = histogram_at(latency, part);
        char name[24] = "max", is[32], most[32];
        if (found <= slo->bound[i].most)
            continue;
        if (part < 1)
            snprintf(name, sizeof name, "p%.6g", part * 100);
        time_print(is, sizeof is, found);
        time_print(most, sizeof most, slo->bound[i].most);
        snprintf(why, why_size, "%s %s, more than %s", name, is, most);
        return false;
    }
    return true;
}

/* ---- the search ---- */

static double within(const struct knee *k, double rate)
{
    return rate < k->least ? k->least : rate > k->most ? k->most : rate;
}

void knee_start(struct knee *k, double first, double least, double most)
{
    *k = (struct knee){.least = least, .most = most};
    k->next = within(k, first);
}

static double next_of(const struct knee *k)
{
    if (k->broke == 0)
        return k->held < k->most ? within(k, k->held * 2) : 0;
    if (k->held == 0)
        return k->broke > k->least ? within(k, k->broke / 2) : 0;
    /* Of what held, since that is the answer. */
    return k->broke - k->held > 0.05 * k->held ? (k->held + k->broke) / 2 : 0;
}

void knee_tell(struct knee *k, bool held)
{
    if (k->next == 0)
        return;
    if (!held && !k->again) {
        k->again = true;
        return;
    }
    k->again = false;
    *(held ? &k->held : &k->broke) = k->next;
    k->next = next_of(k);
}
