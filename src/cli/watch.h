/* Waits for a descriptor on a loop without changing its mode: standard input and output are shared
 * with other programs, which a non-blocking terminal would upset. */
#ifndef HERMES_CLI_WATCH_H
#define HERMES_CLI_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct watch {
    uv_poll_t poll;
    int epoll_fd;
    void (*ready)(struct watch *w);
    bool open;
};

/* Calls `ready` as long as one of `events` (of epoll) holds, and on an error or hang-up. 0 or an
 * error of libuv's: UV_EPERM for what is always ready, such as a file. */
int watch_open(
    struct watch *w, uv_loop_t *loop, int fd, uint32_t events, void (*ready)(struct watch *w));

void watch_pause(struct watch *w);
void watch_resume(struct watch *w);

/* The struct must stay until the loop has run on. Nothing happens when it is not open. */
void watch_close(struct watch *w);

#endif
