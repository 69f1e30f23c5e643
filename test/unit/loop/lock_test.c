#include "loop/lock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "support/dying.h"

struct counted {
    struct lock lock;
    unsigned count;
};

enum { THREADS = 4, ROUNDS = 20000 };

static void *count_up(void *user)
{
    struct counted *c = user;
    for (unsigned i = 0; i < ROUNDS; i++) {
        lock_take(&c->lock);
        c->count++;
        lock_give(&c->lock);
    }
    return NULL;
}

static void one_thread_at_a_time_holds_it(void **state)
{
    (void)state;
    struct counted c = {.count = 0};
    pthread_t threads[THREADS];
    lock_init(&c.lock, LOCK_ADDRESSES);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, &c), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(c.count, THREADS * ROUNDS);
    lock_fini(&c.lock);
}

struct pair {
    enum lock_rank first;
    enum lock_rank second;
};

static void take_both(void *with) NO_THREAD_SAFETY_ANALYSIS
{
    struct pair *p = with;
    struct lock a;
    struct lock b;
    lock_init(&a, p->first);
    lock_init(&b, p->second);
    lock_take(&a);
    lock_take(&b);
    lock_give(&b);
    lock_give(&a);
}

static void locks_are_taken_in_ascending_rank_only(void **state)
{
    (void)state;
    for (int first = LOCK_RULES; first <= LOCK_MAILBOX; first++)
        for (int second = LOCK_RULES; second <= LOCK_MAILBOX; second++) {
            struct pair pair = {(enum lock_rank)first, (enum lock_rank)second};
#ifdef HERMES_DEBUG
            assert_int_equal(dies(take_both, &pair), second <= first);
#else
            if (second > first)
                take_both(&pair);
#endif
        }
}

static void a_lock_given_back_may_be_taken_again(void **state)
{
    (void)state;
    struct pair falling = {LOCK_MAILBOX, LOCK_RULES};
    struct lock a;
    struct lock b;
    lock_init(&a, falling.first);
    lock_init(&b, falling.second);
    for (int i = 0; i < 3; i++) {
        lock_take(&a);
        lock_give(&a);
        lock_take(&b);
        lock_give(&b);
    }
    lock_fini(&a);
    lock_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_thread_at_a_time_holds_it),
        cmocka_unit_test(locks_are_taken_in_ascending_rank_only),
        cmocka_unit_test(a_lock_given_back_may_be_taken_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
