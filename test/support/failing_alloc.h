/* Makes one chosen allocation fail. For a *_alloc_test.c, which is linked with malloc, calloc and
 * realloc wrapped, and includes this once. */
#ifndef HERMES_SUPPORT_FAILING_ALLOC_H
#define HERMES_SUPPORT_FAILING_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

static struct {
    unsigned calls;
    unsigned fail_at; /* this call fails; 0: none */
} allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static bool may_allocate(void)
{
    return ++allocations.calls != allocations.fail_at;
}

void *__wrap_malloc(size_t size)
{
    return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return may_allocate() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *old, size_t size)
{
    return may_allocate() ? __real_realloc(old, size) : NULL;
}

/* The n-th allocation from now on fails. */
static inline void alloc_fail(unsigned n)
{
    allocations.calls = 0;
    allocations.fail_at = n;
}

/* Lets all succeed again; true when the one chosen was asked for, and failed. */
static inline bool alloc_failed(void)
{
    bool failed = allocations.fail_at != 0 && allocations.calls >= allocations.fail_at;
    allocations.fail_at = 0;
    return failed;
}

#endif
