/* A history under ThreadSanitizer: one thread adds to it, others take views under the lock and read
 * them without, while what they read is forgotten. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/history.h"
#include "loop/lock.h"
#include "support/random.h"

enum { READERS = 3, MESSAGES = 40000, VIEWS = 4, DATA_MOST = 9000 };

struct world {
    struct lock lock;
    struct history_budget budget;
    struct history history;
    _Atomic bool done;
    _Atomic int faults;
};

/* All bytes of a message tell its offset. */
static size_t data_len(uint64_t offset)
{
    return offset % 97 == 0 ? DATA_MOST : offset % 41;
}

static struct message *row_of(uint64_t offset, uint32_t count)
{
    struct message *m = message_begin(count * (size_t)(DATA_MOST + 4));
    for (uint64_t i = offset; m && i < offset + count; i++) {
        size_t len = data_len(i);
        char *frame = m->frames + m->len;
        size_t head = len < 126 ? 2 : 4;
        frame[0] = (char)0x81;
        frame[1] = (char)(len < 126 ? len : 126);
        if (head == 4) {
            frame[2] = (char)(len >> 8);
            frame[3] = (char)len;
        }
        memset(frame + head, (char)i, len);
        m->len += (uint32_t)(head + len);
        m->count++;
    }
    if (m)
        m->offset = offset;
    return m;
}

static void *add(void *user)
{
    struct world *w = user;
    struct random r = {9};
    uint32_t count;
    for (uint64_t offset = 1; offset <= MESSAGES; offset += count) {
        count = 1 + (uint32_t)random_below(&r, 8);
        struct message *m = row_of(offset, count);
        lock_take(&w->lock);
        if (!m || !history_add(&w->history, m, offset))
            atomic_fetch_add(&w->faults, 1);
        else if (random_below(&r, 200) == 0)
            history_evict(&w->history);
        lock_give(&w->lock);
        if (m)
            message_drop(m);
    }
    /* What is read yet stays when all is gone. */
    lock_take(&w->lock);
    history_fini(&w->history);
    lock_give(&w->lock);
    atomic_store(&w->done, true);
    return NULL;
}

static bool is_right(uint64_t offset, struct text data)
{
    bool fine = data.len == data_len(offset);
    for (size_t i = 0; i < data.len && fine; i++)
        fine = data.at[i] == (char)offset;
    return fine;
}

static void read_view(struct world *w, struct history_view *v)
{
    uint64_t offset;
    struct text data;
    uint64_t next = v->first;
    for (; history_view_next(v, &offset, &data); next++)
        if (offset != next || !is_right(offset, data))
            atomic_fetch_add(&w->faults, 1);
    if (next != v->last + 1)
        atomic_fetch_add(&w->faults, 1);
    history_view_fini(v);
}

static void *look(void *user)
{
    struct world *w = user;
    struct history_view views[VIEWS];
    struct random r = {(uint64_t)(uintptr_t)&views};
    /* Each view is read when others have been taken. */
    for (unsigned i = 0;; i++) {
        struct history_view *v = &views[i % VIEWS];
        if (i >= VIEWS)
            read_view(w, v);
        bool done = atomic_load(&w->done);
        lock_take(&w->lock);
        *v = history_view(&w->history, w->history.oldest + random_below(&r, 60),
            1 + (uint32_t)random_below(&r, 100), random_below(&r, 2));
        lock_give(&w->lock);
        if (done && i >= VIEWS)
            break;
    }
    for (unsigned i = 0; i < VIEWS; i++)
        read_view(w, &views[i]);
    return NULL;
}

static void views_are_read_while_the_history_goes_on(void **state)
{
    static const struct history_limits limits[] = {
        {.messages = 100}, {.messages = 1}, {.messages = 1000, .bytes = 20000, .age_us = 300}};
    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct world w = {.done = false};
        pthread_t adder, readers[READERS];
        lock_init(&w.lock, LOCK_STRIPE);
        history_init(&w.history, limits[i], &w.budget, 1);
        for (int k = 0; k < READERS; k++)
            pthread_create(&readers[k], NULL, look, &w);
        pthread_create(&adder, NULL, add, &w);
        pthread_join(adder, NULL);
        for (int k = 0; k < READERS; k++)
            pthread_join(readers[k], NULL);
        assert_int_equal(atomic_load(&w.faults), 0);
        assert_int_equal(atomic_load(&w.budget.used), 0);
        lock_fini(&w.lock);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_are_read_while_the_history_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
