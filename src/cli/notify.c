#include "cli/notify.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_FD = 3 };

void notify(const char *lines)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof to.sun_path)
        return;
    memcpy(to.sun_path, path, strlen(path));
    if (path[0] == '@') /* in the abstract namespace */
        to.sun_path[0] = '\0';
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    /* Whether it is heard changes nothing here. */
    (void)!sendto(fd, lines, strlen(lines), MSG_NOSIGNAL, (struct sockaddr *)&to, len);
    close(fd);
}

void notify_reloading(void)
{
    struct timespec now;
    char lines[80];
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(lines, sizeof lines, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
        (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
    notify(lines);
}

/* A variable that is a number, and the whole of it; 0 for any other. */
static uint64_t number(const char *name)
{
    const char *text = getenv(name);
    char *end;
    if (!text || *text < '0' || *text > '9')
        return 0;
    uint64_t value = strtoull(text, &end, 10);
    return *end == '\0' ? value : 0;
}

uint64_t notify_watchdog_ms(void)
{
    uint64_t micros = number("WATCHDOG_USEC");
    if (getenv("WATCHDOG_PID") && number("WATCHDOG_PID") != (uint64_t)getpid())
        return 0;
    return micros == 0 ? 0 : micros < 4000 ? 1 : micros / 4000;
}

int notify_socket(int nth, char *name, unsigned name_size)
{
    const char *names = getenv("LISTEN_FDNAMES");
    *name = '\0';
    if (number("LISTEN_PID") != (uint64_t)getpid() || (uint64_t)nth >= number("LISTEN_FDS"))
        return -1;
    for (int i = 0; names && i < nth; i++) {
        names = strchr(names, ':');
        names = names ? names + 1 : NULL;
    }
    size_t len = names ? strcspn(names, ":") : 0;
    if (len < name_size) {
        if (len > 0)
            memcpy(name, names, len);
        name[len] = '\0';
    }
    return FIRST_FD + nth;
}

void notify_forget(void)
{
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}
