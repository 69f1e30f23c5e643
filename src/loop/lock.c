#include "loop/lock.h"

#include "base/die.h"

#ifdef HERMES_DEBUG
/* One bit a rank that this thread holds. */
static _Thread_local unsigned held_ranks;
#endif

void lock_init(struct lock *l, enum lock_rank rank)
{
    l->rank = rank;
    if (pthread_mutex_init(&l->mutex, NULL) != 0)
        die("no memory for a mutex");
}

void lock_fini(struct lock *l)
{
    pthread_mutex_destroy(&l->mutex);
}

void lock_take(struct lock *l) NO_THREAD_SAFETY_ANALYSIS
{
#ifdef HERMES_DEBUG
    MUST(held_ranks >> l->rank == 0);
    held_ranks |= 1u << l->rank;
#endif
    pthread_mutex_lock(&l->mutex);
}

void lock_give(struct lock *l) NO_THREAD_SAFETY_ANALYSIS
{
    pthread_mutex_unlock(&l->mutex);
#ifdef HERMES_DEBUG
    held_ranks &= ~(1u << l->rank);
#endif
}
