#include "hermes-bench/report.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct report report;
static char path[64];

static int setup(void **state)
{
    (void)state;
    report_init(&report);
    snprintf(report.scenario, sizeof report.scenario, "fanout");
    snprintf(report.url, sizeof report.url, "ws://127.0.0.1:8080/");
    snprintf(report.started, sizeof report.started, "2025-11-02T14:03:22Z");
    json_object_set_new(report.settings, "subscribers", json_integer(1000));
    json_object_set_new(report.settings, "payload", json_string("256 B"));
    report.seconds = 10;
    report.warmup = 2;
    report.rate = 100;
    report.published = 1000;
    report.deliveries = 1000000;
    report.delivered_bytes = 256000000;
    for (uint64_t i = 1; i <= 1000; i++)
        histogram_record(&report.latency, i * 1000);
    report.tool.threads = 2;
    report.tool.busiest = 0.5;
    for (int i = -2; i < 10; i++) {
        const struct report_point point = {.at = i,
            .published = 100,
            .deliveries = 100000,
            .connections = 1001,
            .p50 = 500000,
            .p99 = 990000,
            .most = 1000000,
            .cpu = -1};
        report_add_point(&report, &point);
    }
    strcpy(path, "/tmp/hermes-bench-test-XXXXXX");
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    report_fini(&report);
    unlink(path);
    return 0;
}

static void with_server(void)
{
    report.server.known = true;
    report.server.pid = 4711;
    report.server.cpu = 2000000000;
    report.server.rss_before = 10 << 20;
    report.server.rss_after = (10 << 20) + 392000;
    report.server.rss_peak = 12 << 20;
    report.server.connections = 1000;
    report.connects = 1000;
}

static void with_steps(void)
{
    struct report_step step = {.rate = 100, .delivered = 100000, .p50 = 1000, .p99 = 2000000};
    step.held = true;
    report_add_step(&report, &step);
    step.rate = 200;
    step.p99 = 80000000;
    step.held = false;
    strcpy(step.why, "p99 80 ms, more than 50 ms");
    report_add_step(&report, &step);
    report_add_step(&report, &step);
    report.knee = 100;
    strcpy(report.slo, "p99=50ms");
}

static void assert_near(const json_t *json, const char *key, double wanted)
{
    const double is = report_number(json, key);
    if (!(fabs(is - wanted) <= fabs(wanted) * 1e-9))
        fail_msg("%s is %g, not %g", key, is, wanted);
}

typedef void form(const json_t *report, FILE *out);

/* To be freed. */
static char *form_of(form *make, const json_t *json)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    make(json, out);
    fclose(out);
    return text;
}

static char *page_of(const json_t *json)
{
    assert_true(report_page(json, path));
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 1 << 20);
    assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
    fclose(file);
    return text;
}

static char *comparison_of(const json_t *a, const json_t *b)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    report_compare(a, b, out);
    fclose(out);
    return text;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no \"%s\" in: %s", part, text);
}

static void assert_has_not(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("\"%s\" in: %s", part, text);
}

/* ---- JSON ---- */

static void what_was_run_is_in_the_json(void **state)
{
    (void)state;
    with_server();
    with_steps();
    json_t *json = report_json(&report);
    assert_near(json, "hermes_bench", REPORT_SHAPE);
    assert_near(json, "settings.subscribers", 1000);
    assert_near(json, "totals.deliveries", 1000000);
    assert_near(json, "rates.deliveries", 100000);
    assert_near(json, "latency.count", 1000);
    assert_near(json, "latency.min", 1);
    assert_near(json, "latency.max", 1000);
    assert_near(json, "latency.mean", 500.5);
    assert_true(fabs(report_number(json, "latency.p50") - 500) <= 500.0 / 64);
    assert_true(fabs(report_number(json, "latency.p99_99") - 1000) <= 1000.0 / 64);
    assert_near(json, "server.cpu", 2e6);
    assert_near(json, "server.cpu_per_delivery", 2);
    assert_near(json, "server.processors", 0.2);
    assert_near(json, "server.rss_per_connection", 392);
    assert_near(json, "knee", 100);
    assert_true(report_number(json, "machine.processors") >= 1);
    assert_true(report_number(json, "machine.memory") > 1e6);
    assert_true(strlen(report_text(json_object_get(json, "machine"), "cpu")) > 0);
    assert_int_equal(json_array_size(json_object_get(json, "points")), 12);
    assert_int_equal(json_array_size(json_object_get(json, "steps")), 3);
    assert_true(json_is_true(json_object_get(json, "clean")));
    json_decref(json);
}

static void cpu_is_put_down_only_to_what_nearly_all_of_it_went_to(void **state)
{
    (void)state;
    static const struct {
        uint64_t deliveries, connects;
        double per_delivery, per_connect; /* 0: not given */
    } is[] = {{1000000, 0, 2, 0}, {1000000, 1000, 2, 0}, {100000, 1000, 0, 0}, {0, 1000, 0, 2000},
        {1000, 1000, 0, 2000}, {1001, 1000, 0, 0}, {0, 0, 0, 0}};
    with_server();
    for (size_t i = 0; i < sizeof is / sizeof *is; i++) {
        report.deliveries = is[i].deliveries;
        report.connects = is[i].connects;
        json_t *json = report_json(&report);
        const double delivery = report_number(json, "server.cpu_per_delivery");
        const double connect = report_number(json, "server.cpu_per_connect");
        assert_true((isnan(delivery) ? 0 : delivery) == is[i].per_delivery);
        assert_true((isnan(connect) ? 0 : connect) == is[i].per_connect);
        json_decref(json);
    }
}

static void buckets_add_up_to_the_count_and_end_at_the_greatest(void **state)
{
    (void)state;
    json_t *json = report_json(&report);
    const json_t *buckets = json_object_get(json_object_get(json, "latency"), "buckets");
    const size_t count = json_array_size(buckets);
    json_int_t sum = 0;
    double before = -1;
    for (size_t i = 0; i < count; i++) {
        const json_t *bucket = json_array_get(buckets, i);
        const double value = json_number_value(json_array_get(bucket, 0));
        assert_true(value > before);
        before = value;
        sum += json_integer_value(json_array_get(bucket, 1));
    }
    assert_int_equal(sum, 1000);
    assert_true(before == 1000);
    json_decref(json);
}

static void what_a_scenario_does_not_have_is_left_out(void **state)
{
    (void)state;
    json_t *json = report_json(&report);
    const char *const none[] = {"connect", "served", "server", "steps", "knee", "slo"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_null(json_object_get(json, none[i]));
    const json_t *point = json_array_get(json_object_get(json, "points"), 0);
    assert_null(json_object_get(point, "rss"));
    assert_null(json_object_get(point, "cpu"));
    json_decref(json);
}

static void a_file_shows_again_what_the_run_showed(void **state)
{
    (void)state;
    char fault[200];
    with_server();
    with_steps();
    report_note(&report, "The tool was the bottleneck: %d %%.", 98);
    json_t *json = report_json(&report);
    assert_true(report_write(json, path));
    json_t *again = report_read(path, fault, sizeof fault);
    assert_non_null(again);
    char *first = form_of(report_table, json), *second = form_of(report_table, again);
    assert_string_equal(first, second);
    free(first);
    free(second);
    first = page_of(json);
    second = page_of(again);
    assert_string_equal(first, second);
    free(first);
    free(second);
    json_decref(json);
    json_decref(again);
}

static void every_kind_of_fault_makes_it_unclean_and_is_named(void **state)
{
    (void)state;
    uint64_t *const fault[] = {&report.faults.lost, &report.faults.doubled,
        &report.faults.reordered, &report.faults.disordered, &report.faults.damaged,
        &report.faults.refused, &report.faults.closed, &report.faults.unconnected,
        &report.faults.misnumbered, &report.faults.unrecovered};
    assert_int_equal(sizeof fault / sizeof *fault * sizeof(uint64_t), sizeof report.faults);
    for (size_t i = 0; i < sizeof fault / sizeof *fault; i++) {
        char verdict[400];
        assert_true(report_is_clean(&report));
        *fault[i] = 1234;
        assert_false(report_is_clean(&report));
        json_t *json = report_json(&report);
        assert_true(json_is_false(json_object_get(json, "clean")));
        assert_false(report_verdict(json, verdict, sizeof verdict));
        assert_int_equal(strncmp(verdict, "1,234 ", 6), 0);
        json_decref(json);
        *fault[i] = 0;
    }
}

static void a_file_that_says_it_is_not_clean_is_believed(void **state)
{
    (void)state;
    char verdict[400];
    json_t *json = report_json(&report);
    assert_true(report_verdict(json, verdict, sizeof verdict));
    json_object_set_new(json, "clean", json_false());
    assert_false(report_verdict(json, verdict, sizeof verdict));
    assert_has(verdict, "not clean");
    json_decref(json);
}

static void a_full_disk_is_told(void **state)
{
    (void)state;
    json_t *json = report_json(&report);
    errno = 0;
    assert_false(report_write(json, "/dev/full"));
    assert_int_equal(errno, ENOSPC);
    errno = 0;
    assert_false(report_page(json, "/dev/full"));
    assert_int_equal(errno, ENOSPC);
    errno = 0;
    assert_false(report_write(json, "/nowhere/at/all"));
    assert_int_equal(errno, ENOENT);
    json_decref(json);
}

static void what_is_no_report_is_refused_in_one_line(void **state)
{
    (void)state;
    const char *const text[] = {"", "{", "[]", "{}", "null", "{\"hermes_bench\":\"1\"}",
        "{\"hermes_bench\":1}", "{\"hermes_bench\":2,\"scenario\":\"fanout\"}", "GIF89a\n\n\n"};
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        char fault[300] = "";
        assert_true(report_save(path, text[i], strlen(text[i])));
        assert_null(report_read(path, fault, sizeof fault));
        assert_has(fault, path);
        assert_null(strchr(fault, '\n'));
    }
    char fault[300];
    assert_null(report_read("/nowhere/at/all", fault, sizeof fault));
    assert_has(fault, "No such file");
    assert_null(report_read("/tmp", fault, sizeof fault));
}

static void figures_that_are_none_are_written_as_zero(void **state)
{
    (void)state;
    report.seconds = 0;
    report.tool.busiest = NAN;
    report.rate = INFINITY;
    json_t *json = report_json(&report);
    assert_near(json, "tool.busiest", 0);
    assert_near(json, "rate", 0);
    assert_near(json, "rates.deliveries", 0);
    assert_true(report_write(json, path));
    json_decref(json);
}

static void text_that_is_not_utf8_is_replaced(void **state)
{
    (void)state;
    strcpy(report.url, "ws://h/\xff\xc3");
    report_note(&report, "bad \xff byte");
    json_t *json = report_json(&report);
    assert_string_equal(report_text(json, "url"), "ws://h/?"
                                                  "?");
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(json, "notes"), 0)), "bad ? byte");
    json_decref(json);
}

/* ---- table ---- */

static size_t columns(const char *line, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += ((unsigned char)line[i] & 0xc0) != 0x80;
    return count;
}

static void the_table_fits_80_columns_and_a_screen(void **state)
{
    (void)state;
    with_server();
    with_steps();
    for (uint64_t i = 1; i < 1000; i++) {
        histogram_record(&report.connect, i * 1234567);
        histogram_record(&report.served, i * 12345678);
    }
    for (int i = 0; i < 20; i++) {
        char key[20];
        snprintf(key, sizeof key, "setting_%d", i);
        json_object_set_new(report.settings, key, json_integer(1000000 + i));
    }
    report_note(&report, "%0*d words that go on and on and on and on and on and on and on", 30, 1);
    json_t *json = report_json(&report);
    char *table = form_of(report_table, json);
    size_t lines = 0;
    for (const char *at = table; *at; at += strcspn(at, "\n") + 1, lines++) {
        if (columns(at, strcspn(at, "\n")) > 80)
            fail_msg("too wide: %.*s", (int)strcspn(at, "\n"), at);
    }
    assert_in_range(lines, 15, 40);
    free(table);
    json_decref(json);
}

static void the_table_leaves_out_what_is_not_there_and_ends_with_the_verdict(void **state)
{
    (void)state;
    json_t *json = report_json(&report);
    char *table = form_of(report_table, json);
    assert_has(table, "100 k/s");
    assert_has(table, "\n  checked   nothing lost, doubled or reordered\n");
    assert_has_not(table, "connect");
    assert_has_not(table, "server");
    assert_has_not(table, "knee");
    assert_has_not(table, "nan");
    free(table);
    json_decref(json);
    report.faults.lost = 3;
    json = report_json(&report);
    table = form_of(report_table, json);
    assert_has(table, "\n  FAULTS    3 lost\n");
    free(table);
    json_decref(json);
}

static void a_hostile_text_does_not_steer_the_terminal(void **state)
{
    (void)state;
    strcpy(report.url, "ws://h/\033[2J");
    json_object_set_new(report.settings, "topic\033", json_string("\033]0;x\007"));
    report_note(&report, "note \033[31m");
    json_t *json = report_json(&report);
    char *table = form_of(report_table, json), *compared = comparison_of(json, json);
    assert_null(strchr(table, '\033'));
    assert_null(strchr(compared, '\033'));
    free(table);
    free(compared);
    json_decref(json);
}

/* ---- page ---- */

static void the_page_needs_nothing_but_itself(void **state)
{
    (void)state;
    with_server();
    with_steps();
    json_t *json = report_json(&report);
    char *page = page_of(json);
    const char *const none[] = {"<script", "http://", "https://", "src=", "href=", "@import",
        "url(", "nan", "inf\"", "<img", "<link"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_has_not(page, none[i]);
    const char *const all[] = {"Latency by percentile", "Deliveries per second",
        "Latency over time", "p99 by rate", "objective 50.0 ms", "prefers-color-scheme", "99.9 %",
        "392 B", "</html>"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_has(page, all[i]);
    free(page);
    json_decref(json);
}

static void text_from_outside_is_no_markup_in_the_page(void **state)
{
    (void)state;
    const char *hostile = "\"><script>alert('1')</script>&";
    with_steps();
    strcpy(report.scenario, "<b>");
    snprintf(report.url, sizeof report.url, "%s", hostile);
    strcpy(report.started, "<i>");
    snprintf(report.slo, sizeof report.slo, "%s", hostile);
    snprintf(report.steps[1].why, sizeof report.steps[1].why, "%s", hostile);
    json_object_set_new(report.settings, hostile, json_string(hostile));
    report_note(&report, "%s", hostile);
    json_t *json = report_json(&report);
    json_object_set_new(json, "version", json_string(hostile));
    json_object_set_new(json_object_get(json, "machine"), "cpu", json_string(hostile));
    json_object_set_new(json_object_get(json, "machine"), hostile, json_string(hostile));
    char *page = page_of(json);
    assert_has_not(page, "<script");
    assert_has_not(page, "<b>");
    assert_has_not(page, "<i>");
    assert_has_not(page, "'1'");
    assert_has(page, "&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;");
    free(page);
    json_decref(json);
}

static void an_hour_of_points_makes_no_heavier_page(void **state)
{
    (void)state;
    const struct report_point one = report.points[0];
    for (int i = 0; i < 36000; i++) {
        struct report_point point = one;
        point.at = i / 10.0;
        point.p99 = i == 20000 ? 77000000 : 1000000;
        report_add_point(&report, &point);
    }
    json_t *json = report_json(&report);
    char *page = page_of(json);
    assert_true(strlen(page) < 100000);
    assert_has(page, "to 77.0 ms"); /* the worst of a column is not averaged away */
    assert_has(page, "10 min");
    free(page);
    json_decref(json);
}

static void what_was_before_the_warm_up_is_not_drawn(void **state)
{
    (void)state;
    struct report_point point = report.points[0];
    report.point_count = 0;
    report.warmup = 1;
    const double at[] = {-20, -0.5, 5};
    for (int i = 0; i < 3; i++) {
        point.at = at[i];
        point.deliveries = 9 - 3 * i;
        report_add_point(&report, &point);
    }
    json_t *json = report_json(&report);
    char *page = page_of(json);
    assert_has(page, "Deliveries per second over time, 6/s at most");
    free(page);
    json_decref(json);
}

static void of_a_server_that_was_gone_no_figure_is_made_up(void **state)
{
    (void)state;
    with_server();
    report.server.gone = true;
    report.server.cpu = report.server.rss_after = 0;
    json_t *json = report_json(&report);
    char *table = form_of(report_table, json);
    assert_has_not(table, "processors in use");
    assert_has_not(table, "→");
    assert_has(table, "peak 12.0 MiB");
    assert_true(isnan(report_number(json, "server.cpu")));
    assert_true(isnan(report_number(json, "server.rss_after")));
    free(table);
    json_decref(json);
}

static void rounds_have_a_line_of_their_own(void **state)
{
    (void)state;
    report_add_round(&report, 0.012);
    report_add_round(&report, 1.5);
    report_add_round(&report, 0.5);
    json_t *json = report_json(&report);
    char *table = form_of(report_table, json);
    assert_has(table, "rounds    12.0 ms · 1.50 s · 500 ms\n");
    assert_int_equal(json_array_size(json_object_get(json, "rounds")), 3);
    free(table);
    json_decref(json);
}

static void a_recovery_tells_what_it_cost_where_the_server_is_known(void **state)
{
    (void)state;
    report.recovery.measured = true;
    report.recovery.messages = 3000000;
    json_t *json = report_json(&report);
    char *table = form_of(report_table, json);
    assert_has(table, "recovery  3,000,000 messages came that had been missed\n\n");
    assert_null(json_object_get(json_object_get(json, "recovery"), "cpu"));
    free(table);
    json_decref(json);

    with_server();
    report.recovery.cpu = 1500000000;
    report.recovery.rss_before = 5 << 20;
    report.recovery.rss_peak = 12 << 20;
    report.recovery.rss_after = 10 << 20;
    json = report_json(&report);
    table = form_of(report_table, json);
    assert_has(table, "1.50 s of the server's CPU, 500 ns each\n");
    assert_has(table, "memory 5.00 MiB → 10.0 MiB, peak 12.0 MiB\n");
    assert_true(report_number(json, "recovery.cpu_per_message") == 0.5);
    free(table);
    json_decref(json);
}

/* ---- compare ---- */

static void the_better_of_two_is_marked(void **state)
{
    (void)state;
    with_server();
    json_t *a = report_json(&report);
    report.server.cpu /= 2;
    report.server.rss_peak *= 2;
    json_t *b = report_json(&report);
    char *text = comparison_of(a, b);
    assert_has(text, "CPU per delivery               2.00 µs     1.00 µs      0.50  B better\n");
    assert_has(text, "memory, peak                  12.0 MiB    24.0 MiB      2.00  A better\n");
    assert_has(text, "latency p99 ");
    assert_has(text, "  same\n");
    assert_has_not(text, "differs");
    free(text);
    json_decref(a);
    json_decref(b);
}

static void more_is_better_only_where_nobody_set_the_rate(void **state)
{
    (void)state;
    json_t *a = report_json(&report);
    report.deliveries *= 2;
    json_t *b = report_json(&report);
    char *text = comparison_of(a, b);
    assert_has(text, "delivered                      100 k/s     200 k/s      2.00\n");
    free(text);
    json_object_set_new(a, "saturating", json_true());
    json_object_set_new(b, "saturating", json_true());
    text = comparison_of(a, b);
    assert_has(text, "delivered                      100 k/s     200 k/s      2.00  B better\n");
    free(text);
    json_decref(a);
    json_decref(b);
}

static void settings_and_machines_that_differ_are_named(void **state)
{
    (void)state;
    json_t *a = report_json(&report);
    json_object_set_new(report.settings, "payload", json_string("1 KiB"));
    json_object_set_new(report.settings, "publishers", json_integer(3));
    report.faults.doubled = 2;
    report.seconds = 60; /* which no setting says */
    json_object_set_new(report.settings, "pid", json_integer(7));
    json_t *b = report_json(&report);
    json_object_set_new(json_object_get(b, "machine"), "processors", json_integer(4096));
    char *text = comparison_of(a, b);
    assert_has(text, "differs payload: 256 B and 1 KiB\n");
    assert_has(text, "differs publishers: – and 3\n");
    assert_has(text, " and 4,096\n");
    assert_has(text, "differs measured time: 10.0 s and 60.0 s\n");
    assert_has(text, "FAULTS  2 doubled\n");
    assert_has_not(text, "pid");
    assert_has_not(text, "subscribers");
    free(text);
    text = comparison_of(b, a);
    assert_has(text, "differs publishers: 3 and –\n");
    free(text);
    json_decref(a);
    json_decref(b);
}

/* ---- files of others ---- */

static void show_all(json_t *json, const json_t *sound)
{
    char *text = form_of(report_table, json);
    assert_has_not(text, "nan");
    free(text);
    text = page_of(json);
    assert_has_not(text, "nan");
    free(text);
    text = comparison_of(json, sound);
    free(text);
    text = comparison_of(sound, json);
    free(text);
}

/* Puts something else in place of each value in turn, one level after the other. */
static void spoil(json_t *whole, json_t *part, const json_t *sound, json_t *instead)
{
    const char *key;
    void *next;
    json_t *value;
    json_object_foreach_safe(part, next, key, value)
    {
        json_incref(value);
        json_object_set(part, key, instead);
        show_all(whole, sound);
        json_object_set_new(part, key, value);
        if (json_is_object(value))
            spoil(whole, value, sound, instead);
        if (json_is_array(value) && json_array_size(value)) {
            json_t *first = json_incref(json_array_get(value, 0));
            json_array_set(value, 0, instead);
            show_all(whole, sound);
            json_array_set_new(value, 0, first);
            spoil(whole, first, sound, instead);
        }
    }
}

static void whatever_a_file_holds_it_is_shown_without_harm(void **state)
{
    (void)state;
    with_server();
    with_steps();
    report_note(&report, "a note");
    json_t *sound = report_json(&report);
    char long_text[3000];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    json_t *const instead[] = {json_null(), json_string(long_text), json_integer(-5),
        json_real(1e308), json_real(-1e308), json_real(1e-300), json_integer(0), json_array(),
        json_object(), json_pack("[[[i]]]", 1)};
    for (size_t i = 0; i < sizeof instead / sizeof *instead; i++) {
        json_t *spoilt = json_deep_copy(sound);
        spoil(spoilt, spoilt, sound, instead[i]);
        json_decref(spoilt);
        json_decref(instead[i]);
    }
    json_decref(sound);
}

static void an_empty_report_has_all_forms(void **state)
{
    (void)state;
    struct report none;
    report_init(&none);
    json_t *json = report_json(&none);
    show_all(json, json);
    json_decref(json);
    report_fini(&none);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_run_is_in_the_json),
        TEST(cpu_is_put_down_only_to_what_nearly_all_of_it_went_to),
        TEST(buckets_add_up_to_the_count_and_end_at_the_greatest),
        TEST(what_a_scenario_does_not_have_is_left_out),
        TEST(a_file_shows_again_what_the_run_showed),
        TEST(every_kind_of_fault_makes_it_unclean_and_is_named),
        TEST(a_file_that_says_it_is_not_clean_is_believed),
        TEST(a_full_disk_is_told),
        TEST(what_is_no_report_is_refused_in_one_line),
        TEST(figures_that_are_none_are_written_as_zero),
        TEST(text_that_is_not_utf8_is_replaced),
        TEST(the_table_fits_80_columns_and_a_screen),
        TEST(the_table_leaves_out_what_is_not_there_and_ends_with_the_verdict),
        TEST(a_hostile_text_does_not_steer_the_terminal),
        TEST(the_page_needs_nothing_but_itself),
        TEST(text_from_outside_is_no_markup_in_the_page),
        TEST(an_hour_of_points_makes_no_heavier_page),
        TEST(what_was_before_the_warm_up_is_not_drawn),
        TEST(of_a_server_that_was_gone_no_figure_is_made_up),
        TEST(rounds_have_a_line_of_their_own),
        TEST(a_recovery_tells_what_it_cost_where_the_server_is_known),
        TEST(the_better_of_two_is_marked),
        TEST(more_is_better_only_where_nobody_set_the_rate),
        TEST(settings_and_machines_that_differ_are_named),
        TEST(whatever_a_file_holds_it_is_shown_without_harm),
        TEST(an_empty_report_has_all_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
