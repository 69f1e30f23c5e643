/* What the process takes of the system: the figures that every Prometheus client has. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/metrics_text.h"

enum {
    STAT_MAX = 4096,
    START_FIELD = 22,
    VIRTUAL_FIELD = 23,
    RESIDENT_FIELD = 24,
    TIMES_FIELD = 14
};

static bool read_file(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t len = read(fd, text, size - 1);
    close(fd);
    text[len > 0 ? len : 0] = '\0';
    return len > 0;
}

static uint64_t number(const char *text)
{
    uint64_t n = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        n = n * 10 + (uint64_t)(*text - '0');
    return n;
}

/* A field of /proc/self/stat, which are numbered from 1; the second may hold spaces. */
static uint64_t field(const char *stat, int wanted)
{
    const char *at = strrchr(stat, ')');
    for (int i = 2; at && i < wanted; i++) {
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    return at ? number(at) : 0;
}

/* When the system was started, in seconds since 1970. */
static uint64_t boot_seconds(void)
{
    char text[64 * 1024]; /* it stands behind a row for each processor and one of all interrupts */
    if (!read_file("/proc/stat", text, sizeof text))
        return 0;
    const char *at = strstr(text, "\nbtime ");
    return at ? number(at + 7) : 0;
}

/* Since Linux 6.2 the directory says how many there are; before that they are to be counted. */
static uint64_t open_descriptors(void)
{
    struct stat status;
    uint64_t count = 0;
    if (stat("/proc/self/fd", &status) == 0 && status.st_size > 0)
        return (uint64_t)status.st_size;
    DIR *folder = opendir("/proc/self/fd");
    if (!folder)
        return 0;
    while (readdir(folder))
        count++;
    closedir(folder);
    return count > 3 ? count - 3 : 0; /* ".", "..", and the folder's own */
}

static void write_ticks(struct buf *out, const char *name, uint64_t seconds, uint64_t ticks)
{
    uint64_t a_second = (uint64_t)sysconf(_SC_CLK_TCK);
    buf_appendf(out, "%s %" PRIu64 ".%02" PRIu64 "\n", name, seconds + ticks / a_second,
        ticks % a_second * 100 / a_second);
}

static void write_gauge(struct buf *out, const char *name, const char *help, uint64_t value)
{
    metrics_write_head(out, name, "gauge", help);
    buf_appendf(out, "%s %" PRIu64 "\n", name, value);
}

uint64_t metrics_resident(void)
{
    char stat[STAT_MAX];
    if (!read_file("/proc/self/stat", stat, sizeof stat))
        return 0;
    return field(stat, RESIDENT_FIELD) * (uint64_t)sysconf(_SC_PAGESIZE);
}

void metrics_write_process(struct buf *out)
{
    char stat[STAT_MAX];
    struct rlimit limit;
    if (!read_file("/proc/self/stat", stat, sizeof stat))
        return;
    metrics_write_head(out, "process_cpu_seconds_total", "counter",
        "User and system processor time that the process has used, in seconds");
    write_ticks(out, "process_cpu_seconds_total", 0,
        field(stat, TIMES_FIELD) + field(stat, TIMES_FIELD + 1));
    write_gauge(out, "process_resident_memory_bytes", "Resident memory, in bytes",
        field(stat, RESIDENT_FIELD) * (uint64_t)sysconf(_SC_PAGESIZE));
    write_gauge(out, "process_virtual_memory_bytes", "Virtual memory, in bytes",
        field(stat, VIRTUAL_FIELD));
    write_gauge(out, "process_open_fds", "Open file descriptors", open_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        write_gauge(out, "process_max_fds", "Most file descriptors that may be open",
            (uint64_t)limit.rlim_cur);
    metrics_write_head(out, "process_start_time_seconds", "gauge",
        "When the process was started, in seconds since 1970");
    write_ticks(out, "process_start_time_seconds", boot_seconds(), field(stat, START_FIELD));
}
