/* A table that cannot grow or shrink. */
#include "base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/failing_alloc.h"

static bool is_same(const void *item, const void *wanted)
{
    return item == wanted;
}

static void assert_has(const struct map *m, int *items, unsigned count)
{
    assert_int_equal(m->count, count);
    for (unsigned i = 0; i < count; i++)
        assert_ptr_equal(map_find(m, i * 3, is_same, &items[i]), &items[i]);
}

/* Broken by a count raised before the table has grown: fails. */
static void an_add_that_finds_no_memory_changes_nothing(void **state)
{
    (void)state;
    static int items[1000];
    struct map m = {0};
    unsigned failures = 0;
    for (unsigned i = 0; i < 1000; i++) {
        struct map before = m;
        alloc_fail(1);
        bool added = map_add(&m, i * 3, &items[i]);
        bool failed = alloc_failed();
        assert_int_equal(added, !failed);
        if (failed) {
            failures++;
            assert_memory_equal(&m, &before, sizeof m);
            assert_has(&m, items, i);
            assert_true(map_add(&m, i * 3, &items[i]));
        }
    }
    assert_int_equal(failures, 9); /* 8, 16, ... 2048 slots */
    assert_has(&m, items, 1000);
    map_fini(&m);
}

static void a_table_that_cannot_shrink_stays(void **state)
{
    (void)state;
    static int items[1000];
    struct map m = {0};
    for (unsigned i = 0; i < 1000; i++)
        assert_true(map_add(&m, i * 3, &items[i]));
    uint32_t mask = m.mask;
    for (unsigned left = 1000; left-- > 1;) {
        alloc_fail(1);
        map_remove(&m, left * 3, &items[left]);
        alloc_failed();
        assert_has(&m, items, left);
        assert_int_equal(m.mask, mask);
    }
    map_remove(&m, 0, &items[0]);
    assert_null(m.slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_add_that_finds_no_memory_changes_nothing),
        cmocka_unit_test(a_table_that_cannot_shrink_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
