#include "base/metrics.h"

#include <string.h>

enum metric metric_find(const char *name)
{
    static const char *const names[] = {
#define METRIC(name, kind, help) #name,
#include "base/metrics.def"
#undef METRIC
    };
    size_t i = 0;
    while (i < METRIC_COUNT && strcmp(names[i], name) != 0)
        i++;
    return (enum metric)i;
}
