#include "server/processors.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned processors_of_quota(const char *text)
{
    char *end;
    unsigned long long quota = strtoull(text, &end, 10); /* 0 for "max" */
    unsigned long long period = strtoull(end, NULL, 10);
    if (quota == 0 || period == 0)
        return 0;
    return (unsigned)((quota + period - 1) / period);
}

static unsigned quota_in(const char *path)
{
    char text[64];
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    unsigned processors = fgets(text, sizeof text, file) ? processors_of_quota(text) : 0;
    fclose(file);
    return processors;
}

/* The tightest limit from this process's cgroup (version 2) up to the root. */
static unsigned quota_of_cgroups(void)
{
    char line[512];
    char path[640];
    char *group = NULL;
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && !group && fgets(line, sizeof line, file))
        if (strncmp(line, "0::/", 4) == 0)
            group = line + 3;
    if (file)
        fclose(file);
    if (!group)
        return 0;
    group[strcspn(group, "\n")] = '\0';
    unsigned least = 0;
    for (;;) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", strcmp(group, "/") ? group : "");
        unsigned here = quota_in(path);
        if (here && (!least || here < least))
            least = here;
        char *slash = strrchr(group, '/');
        if (!slash || group[0] == '\0')
            break;
        *slash = '\0';
    }
    return least;
}

unsigned processors_available(void)
{
    cpu_set_t set;
    unsigned allowed = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        allowed = (unsigned)CPU_COUNT(&set);
    unsigned quota = quota_of_cgroups();
    if (quota && quota < allowed)
        allowed = quota;
    return allowed ? allowed : 1;
}
