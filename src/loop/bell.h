/* Wakes a loop from another thread.
 *
 * It is libuv's uv_async_t where that costs what it should. Before libuv 1.45 the woken loop spins
 * until whoever rang is done with the handle, and yields to it in vain when both share a processor:
 * there an eventfd of our own, watched by the loop, does the same without.
 *
 * Order: bell_open and bell_close on the loop's thread, bell_ring in between from any. Several
 * rings may be heard as one. */
#ifndef HERMES_LOOP_BELL_H
#define HERMES_LOOP_BELL_H

#include <uv.h>

#define BELL_IS_ASYNC (UV_VERSION_HEX >= (1 << 16 | 45 << 8))

struct bell {
    void (*rang)(void *user);
    void *user;
#if BELL_IS_ASYNC
    uv_async_t handle;
#else
    uv_poll_t handle;
    int fd;
#endif
};

/* `rang` is called on the loop. A libuv error code or 0. */
int bell_open(struct bell *b, uv_loop_t *loop, void (*rang)(void *user), void *user);
void bell_ring(struct bell *b);

/* The memory is the loop's until it has turned once more. */
void bell_close(struct bell *b);

#endif
