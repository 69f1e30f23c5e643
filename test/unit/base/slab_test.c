#include "base/slab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "support/dying.h"
#include "support/random.h"

enum { ITEMS = 5000 };

struct owned {
    unsigned char *item;
    unsigned seen;
};

static void fill(unsigned char *item, size_t size, unsigned i)
{
    memset(item, (int)(i % 251), size);
    memcpy(item, &i, sizeof i);
}

static void assert_untouched(const unsigned char *item, size_t size, unsigned i)
{
    unsigned stored;
    memcpy(&stored, item, sizeof stored);
    assert_int_equal(stored, i);
    for (size_t at = sizeof i; at < size; at++)
        assert_int_equal(item[at], i % 251);
}

static void give_back(struct slab *s, struct owned *owned, size_t size, unsigned i)
{
    assert_untouched(owned->item, size, i);
    slab_free(s, owned->item);
    owned->item = NULL;
}

/* Broken by an item size that is not rounded up before the items of a block are counted: fails. */
static void items_keep_their_bytes_to_themselves(void **state)
{
    (void)state;
    static struct owned owned[ITEMS];
    static const size_t sizes[] = {32, 40, 48, 64, 100, 256, 320, 1000, 30000};
    struct random r = {2};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        size_t size = sizes[k];
        unsigned items = size > 1000 ? 50 : ITEMS;
        unsigned used = 0;
        struct slab s;
        slab_init(&s, size);
        for (unsigned step = 0; step < 4 * items; step++) {
            unsigned i = (unsigned)random_below(&r, items);
            if (owned[i].item) {
                give_back(&s, &owned[i], size, i);
                used--;
            } else {
                owned[i].item = slab_new(&s);
                assert_non_null(owned[i].item);
                assert_int_equal((uintptr_t)owned[i].item % (size % 64 ? 16 : 64), 0);
                fill(owned[i].item, size, i);
                used++;
            }
            assert_int_equal(s.used, used);
            assert_in_range(s.empty_blocks, 0, 1);
        }
        for (unsigned i = 0; i < items; i++)
            if (owned[i].item)
                give_back(&s, &owned[i], size, i);
        assert_int_equal(s.used, 0);
        assert_int_equal(s.empty_blocks, 1);
        assert_true(list_empty(&s.full));
        assert_ptr_equal(s.open.next, s.open.prev); /* one block is kept */
        slab_fini(&s);
    }
}

struct walk {
    struct slab *slab;
    unsigned freed;
    unsigned seen;
    unsigned every; /* frees one in so many; 0: none */
};

static void see(void *item, void *user)
{
    struct walk *w = user;
    unsigned *count = item;
    ++*count;
    w->seen++;
    if (w->every && w->seen % w->every == 0) {
        *count = 0;
        slab_free(w->slab, item);
        w->freed++;
    }
}

static void each_item_is_seen_once_even_when_items_go(void **state)
{
    (void)state;
    static unsigned *items[ITEMS];
    for (unsigned every = 0; every < 5; every++) {
        struct slab s;
        slab_init(&s, 64);
        struct walk w = {.slab = &s, .every = every};
        slab_each(&s, see, &w);
        assert_int_equal(w.seen, 0);
        for (unsigned i = 0; i < ITEMS; i++) {
            items[i] = slab_new(&s);
            *items[i] = 0;
        }
        unsigned in = ITEMS;
        for (unsigned i = 0; i < ITEMS; i += 7) { /* so that no block but the last stays full */
            if (i > ITEMS / 2)
                break;
            slab_free(&s, items[i]);
            items[i] = NULL;
            in--;
        }
        slab_each(&s, see, &w);
        assert_int_equal(w.seen, in);
        assert_int_equal(s.used, in - w.freed);
        unsigned left = 0;
        for (unsigned i = 0; i < ITEMS && every == 0; i++)
            left += items[i] ? *items[i] : 0;
        assert_int_equal(left, every == 0 ? in : 0);
        w = (struct walk){.slab = &s, .every = 1};
        slab_each(&s, see, &w);
        assert_int_equal(s.used, 0);
        assert_in_range(s.empty_blocks, 0, 1);
        slab_fini(&s);
    }
}

static void wrong_size(void *with)
{
    (void)with;
    struct slab s;
    slab_init(&s, 70000);
}

static void leave_one(void *with)
{
    (void)with;
    struct slab s;
    slab_init(&s, 64);
    (void)slab_new(&s);
    slab_fini(&s);
}

static void free_twice(void *with)
{
    (void)with;
    struct slab s;
    slab_init(&s, 64);
    (void)slab_new(&s);
    void *item = slab_new(&s);
    slab_free(&s, item);
    slab_free(&s, item);
}

static void misuse_is_our_own_bug(void **state)
{
    (void)state;
    assert_true(dies(wrong_size, NULL));
    assert_true(dies(leave_one, NULL));
#ifdef HERMES_DEBUG
    assert_true(dies(free_twice, NULL));
#else
    (void)free_twice;
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_keep_their_bytes_to_themselves),
        cmocka_unit_test(each_item_is_seen_once_even_when_items_go),
        cmocka_unit_test(misuse_is_our_own_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
