/* Lists of origins without memory. */
#include "proto/origins.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/failing_alloc.h"

static void without_memory_there_is_no_list_and_that_is_said(void **state)
{
    (void)state;
    for (unsigned fail_at = 1; fail_at <= 2; fail_at++) {
        struct origins o;
        struct text wrong;
        alloc_fail(fail_at);
        assert_int_equal(origins_parse(&o, "https://example.com,null", &wrong), ORIGINS_NO_MEMORY);
        assert_true(alloc_failed());
        assert_null(o.entries);
        assert_null(o.string);
        assert_false(o.null);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_there_is_no_list_and_that_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
