#include "hermes-bench/knee.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* ---- a server whose limit is known ---- */

struct model {
    double limit;
    double hiccup; /* how often it breaks at a rate that it can bear */
    double soft;   /* within this share of the limit, either may happen */
    uint64_t state;
};

static double chance(struct model *m)
{
    m->state = m->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(m->state >> 11) / 9007199254740992.0;
}

static bool bears(struct model *m, double rate)
{
    if (chance(m) < m->hiccup)
        return false;
    if (fabs(rate - m->limit) < m->soft * m->limit)
        return chance(m) < 0.5;
    return rate <= m->limit;
}

/* How many steps it took. */
static int search(struct knee *k, struct model *m, double first, double least, double most)
{
    int steps = 0;
    knee_start(k, first, least, most);
    while (k->next != 0) {
        assert_true(k->next >= least && k->next <= most);
        assert_true(++steps < 100);
        knee_tell(k, bears(m, k->next));
    }
    return steps;
}

/* Doublings or halvings, each broken one twice; then five halvings of a gap of a doubling. */
static int most_steps(double first, double limit)
{
    return (int)ceil(fabs(log2(limit / first))) * (limit < first ? 2 : 1) + 3 + 5 * 2 + 2;
}

static void a_steady_limit_is_found_to_5_percent(void **unused)
{
    (void)unused;
    for (int i = 0; i < 180 * 6; i++) {
        const int tens = 1 + i / 180;
        const double limit = 12 * pow(1.0731, i % 180), first = pow(10, tens);
        struct model m = {.limit = limit};
        struct knee k;
        const int steps = search(&k, &m, first, 1, 1e8);
        if (steps > most_steps(first, limit))
            fail_msg("%d steps from %g to %g", steps, first, limit);
        if (!(k.held <= limit && k.held * 1.05 >= limit))
            fail_msg("from %g: %g held, the limit was %g", first, k.held, limit);
        assert_true(k.broke > limit && k.broke <= k.held * 1.0501);
    }
}

static void one_hiccup_is_not_taken_for_the_limit(void **unused)
{
    (void)unused;
    int right = 0, runs = 0;
    for (uint64_t seed = 0; seed < 2000; seed++, runs++) {
        struct model m = {.limit = 41000, .hiccup = 0.05, .state = seed * 7919};
        struct knee k;
        const int steps = search(&k, &m, 1000, 1, 1e8);
        assert_true(k.held <= m.limit); /* never more than it can bear */
        assert_true(steps <= most_steps(1000, 41000) + 10);
        right += k.held * 1.05 >= m.limit;
    }
    /* Two hiccups at the same rate are one in 400. */
    assert_true(right >= runs * 95 / 100);
}

static void a_limit_that_is_not_sharp_is_found_as_well(void **unused)
{
    (void)unused;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        struct model m = {.limit = 41000, .soft = 0.1, .state = seed * 104729};
        struct knee k;
        search(&k, &m, 1000, 1, 1e8);
        assert_true(k.held >= m.limit * 0.9 / 1.05 && k.held <= m.limit * 1.1);
    }
}

static void pure_chance_ends_too(void **unused)
{
    (void)unused;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        struct model m = {.limit = 41000, .soft = 1e9, .state = seed * 15485863};
        struct knee k;
        search(&k, &m, 1000, 1, 1e8);
    }
}

static void a_server_that_bears_nothing_is_asked_for_the_least_and_then_no_more(void **unused)
{
    (void)unused;
    struct model m = {.limit = 0};
    struct knee k;
    search(&k, &m, 1000, 10, 1e6);
    assert_true(k.held == 0);
    assert_true(k.broke == 10);
}

static void a_server_that_bears_all_is_asked_for_the_most_and_then_no_more(void **unused)
{
    (void)unused;
    struct model m = {.limit = 1e30};
    struct knee k;
    search(&k, &m, 1000, 10, 1e6);
    assert_true(k.held == 1e6);
    assert_true(k.broke == 0);
    knee_tell(&k, false); /* too late */
    assert_true(k.next == 0 && k.broke == 0);
}

static void the_first_rate_is_within_the_bounds(void **unused)
{
    (void)unused;
    struct knee k;
    knee_start(&k, 5, 10, 100);
    assert_true(k.next == 10);
    knee_start(&k, 500, 10, 100);
    assert_true(k.next == 100);
}

/* ---- objectives ---- */

static void objectives_are_read(void **unused)
{
    (void)unused;
    struct slo slo;
    char fault[200];
    assert_true(slo_parse(&slo, "p99=50ms,p99.9=1.5s,max=900us,p50=700ns", fault, sizeof fault));
    assert_int_equal(slo.count, 4);
    assert_true(slo.bound[0].part == 0.99);
    assert_int_equal(slo.bound[0].most, 50000000);
    assert_true(fabs(slo.bound[1].part - 0.999) < 1e-12);
    assert_int_equal(slo.bound[1].most, 1500000000);
    assert_true(slo.bound[2].part == 1);
    assert_int_equal(slo.bound[2].most, 900000);
    assert_int_equal(slo.bound[3].most, 700);
    assert_true(slo_parse(&slo, "p99.999=1s", fault, sizeof fault));
}

#define TWENTY "00000000000000000000"
#define LONG "p99=" TWENTY TWENTY TWENTY TWENTY TWENTY "1ms"

static void what_is_no_objective_is_said_to_be_none(void **unused)
{
    (void)unused;
    static const char *const bad[] = {"", "p99", "p99=", "p99=50", "p99=50m", "p99=50 ms",
        "p99=-1ms", "p99=0ms", "p99=nanms", "p99=infs", "p49=1ms", "p100=1ms", "p99.9999=1ms",
        "p=1ms", "p99x=1ms", "mean=1ms", "P99=1ms", "p99=1ms,", ",p99=1ms", "p99=1ms;max=1s",
        "p50=1s,p90=1s,p99=1s,p99.9=1s,max=1s", "p99=1e300s", LONG};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct slo slo;
        char fault[200] = "";
        if (slo_parse(&slo, bad[i], fault, sizeof fault))
            fail_msg("\"%s\" is taken", bad[i]);
        assert_true(strlen(fault) > 0 && !strchr(fault, '\n'));
    }
}

static void an_objective_holds_up_to_its_bound_and_says_why_not(void **unused)
{
    (void)unused;
    static struct histogram h;
    struct slo slo;
    char why[96] = "", fault[200];
    assert_true(slo_parse(&slo, "p90=60us,max=50ms", fault, sizeof fault));
    histogram_clear(&h);
    for (int i = 0; i < 99; i++)
        histogram_record(&h, 50000);
    histogram_record(&h, 50000000);
    assert_true(slo_holds(&slo, &h, why, sizeof why));
    histogram_record(&h, 61000000);
    assert_false(slo_holds(&slo, &h, why, sizeof why));
    assert_string_equal(why, "max 61 ms, more than 50 ms");
    for (int i = 0; i < 20; i++)
        histogram_record(&h, 2000000);
    assert_false(slo_holds(&slo, &h, why, sizeof why));
    assert_non_null(strstr(why, "p90 2.0"));
}

static void nothing_that_arrives_holds_no_objective(void **unused)
{
    (void)unused;
    static struct histogram h;
    struct slo slo;
    char why[96], fault[200];
    assert_true(slo_parse(&slo, "p99=50ms", fault, sizeof fault));
    assert_false(slo_holds(&slo, &h, why, sizeof why));
    assert_string_equal(why, "nothing arrived");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_steady_limit_is_found_to_5_percent),
        cmocka_unit_test(one_hiccup_is_not_taken_for_the_limit),
        cmocka_unit_test(a_limit_that_is_not_sharp_is_found_as_well),
        cmocka_unit_test(pure_chance_ends_too),
        cmocka_unit_test(a_server_that_bears_nothing_is_asked_for_the_least_and_then_no_more),
        cmocka_unit_test(a_server_that_bears_all_is_asked_for_the_most_and_then_no_more),
        cmocka_unit_test(the_first_rate_is_within_the_bounds),
        cmocka_unit_test(objectives_are_read),
        cmocka_unit_test(what_is_no_objective_is_said_to_be_none),
        cmocka_unit_test(an_objective_holds_up_to_its_bound_and_says_why_not),
        cmocka_unit_test(nothing_that_arrives_holds_no_objective),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
