#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/slab.h"
#include "support/random.h"

enum { ITEMS = 5000 };

struct item {
    unsigned seen;
    bool stays;
    char more[120];
};

static void see(void *item, void *user)
{
    (void)user;
    ((struct item *)item)->seen++;
}

static void what_stays_is_seen_once_whatever_comes_and_goes(void **state)
{
    static struct item *items[ITEMS];
    static struct item *late[ITEMS];
    struct random random = {7};
    struct slab s;
    uintptr_t cursor = 0;
    size_t lates = 0;
    unsigned steps = 0;
    (void)state;
    slab_init(&s, sizeof(struct item));
    for (size_t i = 0; i < ITEMS; i++) {
        items[i] = slab_new(&s);
        assert_non_null(items[i]);
        *items[i] = (struct item){.stays = true};
    }
    while (slab_step(&s, &cursor, see, NULL)) {
        steps++;
        for (int k = 0; k < 60; k++) {
            size_t i = random_below(&random, ITEMS);
            if (items[i]) {
                slab_free(&s, items[i]);
                items[i] = NULL;
            }
            if (lates < ITEMS && k % 2 == 0 && (late[lates] = slab_new(&s)) != NULL)
                *late[lates++] = (struct item){0};
        }
    }
    assert_true(steps > 5);
    size_t stayed = 0;
    for (size_t i = 0; i < ITEMS; i++) {
        stayed += items[i] != NULL;
        assert_true(!items[i] || items[i]->seen == 1);
        if (items[i])
            slab_free(&s, items[i]);
    }
    assert_true(stayed > 0 && stayed < ITEMS);
    for (size_t i = 0; i < lates; i++) {
        assert_true(late[i]->seen <= 1);
        slab_free(&s, late[i]);
    }
    slab_fini(&s);
}

static void an_empty_one_has_nothing_to_see(void **state)
{
    struct slab s;
    uintptr_t cursor = 0;
    (void)state;
    slab_init(&s, 64);
    assert_false(slab_step(&s, &cursor, see, NULL));
    slab_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_stays_is_seen_once_whatever_comes_and_goes),
        cmocka_unit_test(an_empty_one_has_nothing_to_see),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
