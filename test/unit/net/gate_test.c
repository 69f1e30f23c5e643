#include "net/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000000)
#define START (1000 * SECOND)

static struct gate gate_of(uint64_t per_second)
{
    struct gate g;
    gate_init(&g, per_second);
    return g;
}

/* How many of them may come in at that time. */
static int enter(struct gate *g, uint64_t now, int count, bool comes_back)
{
    int in = 0;
    for (int i = 0; i < count; i++)
        in += gate_enter(g, now, comes_back) == 0;
    return in;
}

static void without_a_rate_all_may_come_in(void **state)
{
    (void)state;
    struct gate g = gate_of(0);
    assert_int_equal(enter(&g, START, 100000, false), 100000);
    g = gate_of(UINT32_MAX); /* more than one a nanosecond */
    assert_int_equal(enter(&g, START, 100000, false), 100000);
}

/* Seen to fail with tokens that are not spent, and with time that earns nothing. */
static void a_second_s_worth_comes_in_at_once_and_then_the_rate(void **state)
{
    (void)state;
    static const int rates[] = {1, 3, 10, 1000};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct gate g = gate_of((uint64_t)rates[i]);
        assert_int_equal(enter(&g, START, 2 * rates[i], false), rates[i]);
        assert_int_equal(enter(&g, START, 1, false), 0);
        for (uint64_t second = 1; second < 10; second++)
            assert_int_equal(enter(&g, START + second * SECOND, 2 * rates[i], false), rates[i]);
        /* What was not used is not saved up for longer. */
        assert_int_equal(enter(&g, START + 100 * SECOND, 5 * rates[i], false), rates[i]);
    }
}

/* Seen to fail with one mark for both. */
static void who_comes_back_finds_a_second_s_worth_when_those_who_are_new_do_not(void **state)
{
    (void)state;
    struct gate g = gate_of(10);
    assert_int_equal(enter(&g, START, 50, false), 10);
    assert_int_equal(enter(&g, START, 50, true), 10);
    /* For as long as they come as fast as that, nobody else does. */
    for (uint64_t second = 1; second < 10; second++) {
        assert_int_equal(enter(&g, START + second * SECOND, 50, true), 10);
        assert_int_equal(enter(&g, START + second * SECOND, 50, false), 0);
    }
    /* Then both may have all of it again. */
    assert_int_equal(enter(&g, START + 20 * SECOND, 50, false), 10);
    assert_int_equal(enter(&g, START + 21 * SECOND, 50, false), 10);
}

/* Seen to fail with a queue that nobody joins, and with one that time does not shorten. */
static void each_is_sent_away_until_its_turn_would_come(void **state)
{
    (void)state;
    struct gate g = gate_of(10);
    assert_int_equal(enter(&g, START, 10, false), 10);
    for (unsigned place = 0; place < 300; place++)
        assert_int_equal(gate_enter(&g, START, false), place / 10 + 1);
    assert_int_equal(enter(&g, START + 40 * SECOND, 10, false), 10);
    assert_int_equal(gate_enter(&g, START + 40 * SECOND, false), 1);
}

/* Seen to fail without the end of the queue, and with places that all are told the same. */
static void nobody_waits_for_more_than_a_minute_and_they_do_not_all_wait_for_that(void **state)
{
    (void)state;
    enum { RATE = 10, MANY = 10000 };
    unsigned told[GATE_WAIT_MOST + 1] = {0};
    struct gate g = gate_of(RATE);
    for (int i = 0; i < MANY; i++) {
        unsigned wait = gate_enter(&g, START, true);
        assert_true(wait <= GATE_WAIT_MOST);
        told[wait]++;
    }
    assert_int_equal(told[0], 2 * RATE);
    for (unsigned wait = 1; wait <= GATE_WAIT_MOST; wait++)
        assert_in_range(told[wait], RATE, MANY / 25);
    /* Then it is over, however many there were. */
    assert_int_equal(enter(&g, START + 200 * SECOND, 2 * RATE, true), 2 * RATE);
    assert_int_equal(gate_enter(&g, START + 200 * SECOND, true), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_rate_all_may_come_in),
        cmocka_unit_test(a_second_s_worth_comes_in_at_once_and_then_the_rate),
        cmocka_unit_test(who_comes_back_finds_a_second_s_worth_when_those_who_are_new_do_not),
        cmocka_unit_test(each_is_sent_away_until_its_turn_would_come),
        cmocka_unit_test(nobody_waits_for_more_than_a_minute_and_they_do_not_all_wait_for_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
