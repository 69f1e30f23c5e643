/* Counting addresses without memory. */
#include "net/addresses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/failing_alloc.h"

static void a_connection_that_cannot_be_counted_is_refused(void **state)
{
    (void)state;
    struct ip ip = {{10, 1}};
    struct addresses a;
    struct address *address;
    addresses_init(&a, 3);
    for (unsigned fail_at = 1; fail_at <= 2; fail_at++) { /* the address, the table */
        alloc_fail(fail_at);
        assert_false(address_hold(&a, &ip, &address));
        assert_true(alloc_failed());
        assert_null(address);
        assert_int_equal(a.map.count, 0);
    }
    struct address *held;
    assert_true(address_hold(&a, &ip, &held));
    alloc_fail(1);
    assert_true(address_hold(&a, &ip, &address)); /* needs none */
    assert_false(alloc_failed());
    assert_ptr_equal(address, held);
    assert_int_equal(held->connections, 2);
    address_drop(&a, held);
    address_drop(&a, held);
    addresses_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_that_cannot_be_counted_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
