#include "memory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static _Noreturn void give_up(void)
{
    fputs("hermes-bench: out of memory\n", stderr);
    /* Other threads may run: nothing of theirs is torn down under them. */
    _exit(2);
}

void *memory_new(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    if (!p)
        give_up();
    return p;
}

void *memory_more(void *old, size_t count, size_t size)
{
    if (count > SIZE_MAX / size)
        give_up();
    void *p = realloc(old, (count ? count : 1) * size);
    if (!p)
        give_up();
    return p;
}
