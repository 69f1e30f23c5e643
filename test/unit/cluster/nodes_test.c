/* Who is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/worker_harness.h"

#include "unit/cluster/company.h"

static void an_id_is_16_digits_and_nothing_else(void **state)
{
    struct node_text text = node_text(0x123456789abcdef0);
    (void)state;
    assert_memory_equal(text.digits, "123456789abcdef0", NODE_DIGITS);
    assert_true(node_read((struct text){text.digits, NODE_DIGITS}) == 0x123456789abcdef0);
    assert_int_equal(node_read(TEXT("123456789abcdef")), 0);
    assert_int_equal(node_read(TEXT("123456789abcdef01")), 0);
    assert_int_equal(node_read(TEXT("123456789ABCDEF0")), 0);
    assert_int_equal(node_read(TEXT("123456789abcdeg0")), 0);
    assert_int_equal(node_read(TEXT("0000000000000000")), 0);
}

static void all_know_each_other_and_are_told_once(void **state)
{
    static struct company c;
    (void)state;
    company_open(&c, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(c.fellows[i].joined, 2);
        assert_int_equal(c.fellows[i].gone, 0);
        for (unsigned id = 1; id <= 4; id++)
            assert_int_equal(nodes_has(&c.fellows[i].nodes, id), id != i + 1 && id < 4);
    }
    company_close(&c);
}

/* Within the second: the others were told to look. Seen to fail (they know only a second later)
 * when nothing is published: the timer is stopped here. */
static void who_goes_in_order_is_gone_at_once(void **state)
{
    static struct company c;
    (void)state;
    company_open(&c, 3);
    for (unsigned i = 0; i < 2; i++)
        uv_timer_stop(&c.fellows[i].nodes.timer);
    fellow_close(&c.fellows[2]);
    COMPANY_UNTIL(&c, nodes_count(&c.fellows[0].nodes) == 2);
    COMPANY_UNTIL(&c, nodes_count(&c.fellows[1].nodes) == 2);
    assert_false(nodes_has(&c.fellows[0].nodes, 3));
    assert_int_equal(c.fellows[0].gone, 1);
    company_close(&c);
}

/* Seen to fail without ZREMRANGEBYSCORE. */
static void who_says_nothing_any_more_is_gone_after_some_seconds(void **state)
{
    static struct company c;
    (void)state;
    company_open(&c, 3);
    c.fellows[1].hangs = true;
    COMPANY_UNTIL(&c, nodes_count(&c.fellows[0].nodes) == 2);
    COMPANY_UNTIL(&c, nodes_count(&c.fellows[2].nodes) == 2);
    assert_true(nodes_has(&c.fellows[0].nodes, 3) && nodes_has(&c.fellows[2].nodes, 1));
    c.fellows[1].hangs = false; /* it wakes up */
    COMPANY_UNTIL(&c, company_is_whole(&c));
    assert_int_equal(c.fellows[0].gone, 1);
    assert_int_equal(c.fellows[0].joined, 3);
    company_close(&c);
}

/* The set is empty then. Seen to fail where absence is believed at once. */
static void nobody_is_gone_when_redis_comes_back_without_its_data(void **state)
{
    static struct company c;
    (void)state;
    company_open(&c, 3);
    real_redis_kill(&c.redis);
    for (unsigned i = 0; i < 3; i++)
        COMPANY_UNTIL(&c, !redis_link_is_up(c.fellows[i].commands));
    assert_true(company_is_whole(&c));
    real_redis_start(&c.redis, NULL);
    for (unsigned i = 0; i < 3; i++)
        COMPANY_UNTIL(&c, c.fellows[i].nodes.known && c.fellows[i].nodes.trusted_ms > 0 &&
                              redis_link_is_up(c.fellows[i].commands));
    /* Until absence counts again. */
    for (unsigned i = 0; i < 3; i++)
        COMPANY_UNTIL(&c, c.fellows[i].nodes.answered_ms >= c.fellows[i].nodes.trusted_ms);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(c.fellows[i].gone, 0);
    assert_true(company_is_whole(&c));
    company_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_16_digits_and_nothing_else),
        cmocka_unit_test(all_know_each_other_and_are_told_once),
        cmocka_unit_test(who_goes_in_order_is_gone_at_once),
        cmocka_unit_test(who_says_nothing_any_more_is_gone_after_some_seconds),
        cmocka_unit_test(nobody_is_gone_when_redis_comes_back_without_its_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
