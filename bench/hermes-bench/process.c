#include "process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* The beginning of a small file of /proc, as a text. */
static bool slurp(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    const size_t got = fread(text, 1, size - 1, file);
    const bool ok = !ferror(file);
    const int why = errno; /* a process that ends after the open: ESRCH from the read */
    fclose(file);
    text[got] = '\0';
    errno = ok ? ESRCH : why;
    return ok && got > 0;
}

static bool slurp_of(long pid, const char *what, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/%s", pid, what);
    if (slurp(path, text, size))
        return true;
    if (errno == ENOENT)
        errno = ESRCH;
    return false;
}

/* The number of KiB behind `label`, in bytes. */
static bool kib(const char *text, const char *label, uint64_t *bytes)
{
    const char *line = strstr(text, label);
    if (!line)
        return false;
    *bytes = strtoull(line + strlen(label), NULL, 10) * 1024;
    return true;
}

/* In ticks of a hundredth of a second. */
static bool cpu_by_ticks(long pid, uint64_t *ns)
{
    char text[1024];
    if (!slurp_of(pid, "stat", text, sizeof text))
        return false;
    const char *after = strrchr(text, ')'); /* the name may hold anything, ')' too */
    if (!after) {
        errno = EPROTO;
        return false;
    }
    char *field = NULL;
    strtok_r(text + (after - text), " ", &field);
    uint64_t ticks = 0;
    for (int i = 3; i <= 15; i++) {
        const char *word = strtok_r(NULL, " ", &field);
        if (!word) {
            errno = EPROTO;
            return false;
        }
        if (i >= 14)
            ticks += strtoull(word, NULL, 10);
    }
    *ns = ticks * (UINT64_C(1000000000) / (uint64_t)sysconf(_SC_CLK_TCK));
    return true;
}

static bool cpu_of(long pid, uint64_t *ns)
{
    clockid_t clock;
    struct timespec now;
    /* The same sum as in stat, to the nanosecond. Sandboxed kernels have it for oneself only. */
    if (clock_getcpuclockid((pid_t)pid, &clock) == 0 && clock_gettime(clock, &now) == 0) {
        *ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
        return true;
    }
    return cpu_by_ticks(pid, ns);
}

bool process_read(long pid, struct process_reading *out)
{
    char text[4096];
    if (!cpu_of(pid, &out->cpu) || !slurp_of(pid, "statm", text, sizeof text))
        return false;
    const char *resident = strchr(text, ' ');
    out->rss = resident ? strtoull(resident, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
    if (!slurp_of(pid, "status", text, sizeof text))
        return false;
    if (!kib(text, "VmHWM:", &out->rss_peak)) { /* a zombie has no memory */
        errno = ESRCH;
        return false;
    }
    return true;
}

bool process_rss_exact(long pid, uint64_t *bytes)
{
    char text[4096];
    if (!slurp_of(pid, "smaps_rollup", text, sizeof text))
        return false;
    if (kib(text, "\nRss:", bytes))
        return true;
    errno = EPROTO;
    return false;
}

bool machine_read(struct machine_reading *out)
{
    char text[512];
    if (!slurp("/proc/stat", text, sizeof text))
        return false;
    /* user nice system idle iowait irq softirq steal; a guest's time is in user already */
    uint64_t tick[8] = {0};
    char *at = text + strcspn(text, " ");
    for (int i = 0; i < 8; i++)
        tick[i] = strtoull(at, &at, 10);
    out->all = 0;
    for (int i = 0; i < 8; i++)
        out->all += tick[i];
    out->busy = out->all - tick[3] - tick[4];
    return out->all > 0;
}
