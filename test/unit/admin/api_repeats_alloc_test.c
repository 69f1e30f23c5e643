/* Remembering keys when the n-th allocation fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "admin/api_repeats.h"
#include "support/failing_alloc.h"

enum { KEYS = 40 };

static void a_key_without_memory_is_not_remembered_and_the_others_are(void **state)
{
    unsigned fail_at = 0;
    bool failed;
    (void)state;
    do {
        struct repeats r;
        bool added[KEYS];
        char key[16];
        repeats_init(&r);
        alloc_fail(++fail_at);
        for (unsigned i = 0; i < KEYS; i++) {
            snprintf(key, sizeof key, "key %u", i);
            added[i] = repeats_add(&r, text_of(key), TEXT("topic"), 0) != NULL;
        }
        failed = alloc_failed();
        unsigned count = 0;
        for (unsigned i = 0; i < KEYS; i++) {
            snprintf(key, sizeof key, "key %u", i);
            assert_int_equal(repeats_find(&r, text_of(key), 1) != NULL, added[i]);
            count += added[i];
        }
        assert_int_equal(count, failed ? KEYS - 1 : KEYS);
        repeats_fini(&r);
    } while (failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_without_memory_is_not_remembered_and_the_others_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
