#include "base/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static const char *const names[] = {
#define METRIC(name, kind, help) #name,
#include "base/metrics.def"
#undef METRIC
};

enum kind { COUNTER, GAUGE };

static const enum kind kinds[] = {
#define METRIC(name, kind, help) kind,
#include "base/metrics.def"
#undef METRIC
};

static const char *const helps[] = {
#define METRIC(name, kind, help) help,
#include "base/metrics.def"
#undef METRIC
};

static void every_metric_is_found_by_its_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < METRIC_COUNT; i++)
        assert_int_equal(metric_find(names[i]), i);
    assert_int_equal(metric_find("sessions"), METRIC_sessions);
    assert_int_equal(metric_find(""), METRIC_COUNT);
    assert_int_equal(metric_find("session"), METRIC_COUNT);
    assert_int_equal(metric_find("sessionss"), METRIC_COUNT);
}

/* As Prometheus wants them named. */
static void counters_and_no_gauges_end_in_total(void **state)
{
    (void)state;
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        size_t len = strlen(names[i]);
        bool total = len > 6 && strcmp(names[i] + len - 6, "_total") == 0;
        if (total != (kinds[i] == COUNTER))
            fail_msg("%s", names[i]);
        assert_true(strlen(helps[i]) > 0);
    }
}

static void figures_go_up_and_down_by_themselves(void **state)
{
    (void)state;
    static struct metrics m;
    metric_add(&m, METRIC_sessions, 5);
    metric_add(&m, METRIC_sessions, -7);
    metric_set(&m, METRIC_log_bytes, INT64_C(1) << 40);
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        int64_t expected = i == METRIC_sessions ? -2 : i == METRIC_log_bytes ? INT64_C(1) << 40 : 0;
        assert_true(metric_get(&m, (enum metric)i) == expected);
    }
}

static void no_two_sets_share_a_cache_line(void **state)
{
    (void)state;
    static struct metrics sets[2];
    assert_int_equal((uintptr_t)&sets[0] % 64, 0);
    assert_int_equal((uintptr_t)&sets[1] % 64, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_metric_is_found_by_its_name),
        cmocka_unit_test(counters_and_no_gauges_end_in_total),
        cmocka_unit_test(figures_go_up_and_down_by_themselves),
        cmocka_unit_test(no_two_sets_share_a_cache_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
