#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <string.h>

#include "admin/metrics_text.h"
#include "support/admin_harness.h"

struct row {
    const char *name;
    const char *family;
    const char *labels;
};

static const struct row rows[] = {
#define METRIC(name, kind, help) {#name, #name, ""},
#define METRIC_IN(name, kind, family, labels, help) {#name, #family, labels},
#include "base/metrics.def"
#undef METRIC
};

static const char *const families[] = {
#define METRIC(name, kind, help)
#define METRIC_IN(name, kind, family, labels, help)
#define FAMILY(name, help) #name,
#include "base/metrics.def"
#undef METRIC
};

enum { ROWS = sizeof rows / sizeof rows[0], FAMILIES = sizeof families / sizeof families[0] };

/* What a metric says stands in one place only, or a reader would refuse all of it. */
static void the_rows_of_a_family_stand_together_and_differ(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t k = i + 1; k < ROWS; k++) {
            if (strcmp(rows[i].family, rows[k].family) != 0)
                continue;
            assert_string_equal(rows[k - 1].family, rows[k].family);
            assert_string_not_equal(rows[i].labels, rows[k].labels);
            assert_true(rows[i].labels[0] && rows[k].labels[0]);
        }
    }
}

static void every_family_has_rows_and_one_help(void **state)
{
    (void)state;
    for (size_t i = 0; i < FAMILIES; i++) {
        bool found = false;
        for (size_t k = 0; k < ROWS; k++)
            found |= strcmp(rows[k].family, families[i]) == 0 && rows[k].labels[0];
        assert_true(found);
        for (size_t k = i + 1; k < FAMILIES; k++)
            assert_string_not_equal(families[i], families[k]);
    }
}

static void threads_are_added_up(void **state)
{
    struct desk d;
    struct buf out = {0};
    (void)state;
    desk_open(&d, 2, TEXT(""));
    metric_add(&d.outside, METRIC_messages_published_total, 1);
    metric_add(&d.acceptor, METRIC_messages_published_total, 10);
    metric_add(&d.admin->metrics, METRIC_messages_published_total, 100);
    metric_add(&d.rig.shop.workers[0].metrics, METRIC_messages_published_total, 1000);
    metric_add(&d.rig.shop.workers[1].metrics, METRIC_messages_published_total, 10000);
    metric_add(&d.rig.shop.workers[1].metrics, METRIC_closed_lost_total, 3);
    metric_add(&d.rig.shop.workers[0].metrics, METRIC_closed_too_slow_total, 4);
    metric_add(&d.rig.shop.workers[1].metrics, METRIC_log_bytes, 7);
    assert_int_equal(metrics_sum(d.admin, METRIC_messages_published_total), 11111);
    assert_int_equal(metrics_family(d.admin, "closes_total"), 7);
    metrics_write(&out, d.admin);
    buf_append(&out, "", 1);
    assert_non_null(strstr(out.data, "\nhermes_messages_published_total 11111\n"));
    assert_non_null(strstr(out.data, "\nhermes_closes_total{reason=\"too_slow\"} 4\n"));
    assert_non_null(strstr(out.data, "\nhermes_log_bytes{worker=\"1\"} 7\n"));
    assert_non_null(strstr(out.data, "\nhermes_log_bytes{worker=\"0\"} 0\n"));
    metric_add(&d.rig.shop.workers[1].metrics, METRIC_log_bytes, -7);
    buf_fini(&out);
    desk_close(&d);
}

static void buckets_are_cumulative_and_of_all_workers_where_they_are_summed(void **state)
{
    struct desk d;
    struct buf out = {0};
    (void)state;
    desk_open(&d, 2, TEXT(""));
    for (unsigned i = 0; i < 2; i++) {
        struct histogram *h = d.rig.shop.workers[i].pulse.histograms;
        histogram_add(&h[HISTOGRAM_publish_to_write_seconds], 50000);
        histogram_add(&h[HISTOGRAM_publish_to_write_seconds], 50001);
        histogram_add(&h[HISTOGRAM_loop_lag_seconds], UINT64_C(11000000000) * (i + 1));
    }
    metrics_write(&out, d.admin);
    buf_append(&out, "", 1);
    assert_non_null(
        strstr(out.data, "\nhermes_publish_to_write_seconds_bucket{le=\"0.00005\"} 2\n"));
    assert_non_null(
        strstr(out.data, "\nhermes_publish_to_write_seconds_bucket{le=\"0.0001\"} 4\n"));
    assert_non_null(strstr(out.data, "\nhermes_publish_to_write_seconds_bucket{le=\"+Inf\"} 4\n"));
    assert_non_null(strstr(out.data, "\nhermes_publish_to_write_seconds_sum 0.000200002\n"));
    assert_non_null(strstr(out.data, "\nhermes_publish_to_write_seconds_count 4\n"));
    assert_non_null(
        strstr(out.data, "\nhermes_loop_lag_seconds_bucket{worker=\"1\",le=\"10.0\"} 0\n"));
    assert_non_null(
        strstr(out.data, "\nhermes_loop_lag_seconds_bucket{worker=\"1\",le=\"+Inf\"} 1\n"));
    assert_non_null(strstr(out.data, "\nhermes_loop_lag_seconds_sum{worker=\"1\"} 22.000000000\n"));
    assert_non_null(strstr(out.data, "\nhermes_loop_lag_seconds_count{worker=\"0\"} 1\n"));
    buf_fini(&out);
    desk_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rows_of_a_family_stand_together_and_differ),
        cmocka_unit_test(every_family_has_rows_and_one_help),
        cmocka_unit_test(threads_are_added_up),
        cmocka_unit_test(buckets_are_cumulative_and_of_all_workers_where_they_are_summed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
