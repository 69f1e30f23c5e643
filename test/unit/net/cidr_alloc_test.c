/* Lists of networks without memory. */
#include "net/cidr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/failing_alloc.h"

static void without_memory_there_is_no_list_and_that_is_said(void **state)
{
    (void)state;
    struct cidr_list list;
    struct text wrong;
    alloc_fail(1);
    assert_int_equal(cidr_parse(&list, "10.0.0.0/8,::1", &wrong), CIDR_NO_MEMORY);
    assert_true(alloc_failed());
    assert_null(list.entries);
    assert_int_equal(list.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_there_is_no_list_and_that_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
