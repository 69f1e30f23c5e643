#include "hermes-bench/human.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct pair {
    double value;
    const char *text;
};

static void assert_all(struct human (*form)(double), const struct pair *pair)
{
    for (; pair->text; pair++)
        assert_string_equal(form(pair->value).text, pair->text);
}

static void durations_have_three_digits_and_the_nearest_unit(void **state)
{
    (void)state;
    assert_all(human_duration,
        (const struct pair[]){{0, "0"}, {0.001, "1.00 ns"}, {0.85, "850 ns"}, {1, "1.00 µs"},
            {12.34, "12.3 µs"}, {99.96, "100 µs"}, {999.4, "999 µs"}, {999.6, "1.00 ms"},
            {4567, "4.57 ms"}, {59e6, "59.0 s"}, {1800e6, "30.0 min"}, {NAN, "–"}, {INFINITY, "–"},
            {0, NULL}});
}

static void sizes_count_in_1024s(void **state)
{
    (void)state;
    assert_all(human_bytes, (const struct pair[]){{0, "0 B"}, {392.4, "392 B"}, {1023, "1023 B"},
                                {1024, "1.00 KiB"}, {1536, "1.50 KiB"}, {1048575, "1.00 MiB"},
                                {20971520, "20.0 MiB"}, {-2048, "-2.00 KiB"}, {0, NULL}});
}

static void numbers_and_rates_are_short(void **state)
{
    (void)state;
    assert_all(human_number,
        (const struct pair[]){{0, "0"}, {7, "7"}, {0.1234, "0.12"}, {456, "456"}, {999.7, "1.00 k"},
            {12345, "12.3 k"}, {1e6, "1.00 M"}, {2.5e9, "2.50 G"}, {0, NULL}});
    assert_all(human_rate,
        (const struct pair[]){{456, "456/s"}, {7890, "7.89 k/s"}, {NAN, "–"}, {0, NULL}});
    assert_all(human_share, (const struct pair[]){{0.456, "46 %"}, {0.0123, "1.2 %"}, {0, "0 %"},
                                {1, "100 %"}, {NAN, "–"}, {0, NULL}});
}

static void counts_are_whole(void **state)
{
    (void)state;
    assert_all(human_count, (const struct pair[]){{0, "0"}, {999, "999"}, {1000, "1,000"},
                                {10000000, "10,000,000"}, {-1234, "-1,234"}, {0, NULL}});
}

static void whatever_the_number_it_fits(void **state)
{
    (void)state;
    const double extreme[] = {1e308, -1e308, 1e-308, 1e18, 1e15, -INFINITY, 18446744073709551615.0};
    struct human (*const form[])(double) = {
        human_duration, human_bytes, human_number, human_rate, human_count, human_share};
    for (size_t f = 0; f < sizeof form / sizeof *form; f++) {
        for (size_t i = 0; i < sizeof extreme / sizeof *extreme; i++)
            assert_in_range(strlen(form[f](extreme[i]).text), 1, sizeof(struct human) - 1);
    }
}

static void settings_of_every_kind_are_shown(void **state)
{
    (void)state;
    json_t *all = json_pack("[s,i,f,b,b,n,o]", "256 B", 20000, 0.5, 1, 0, json_object());
    const char *const text[] = {"256 B", "20,000", "0.5", "yes", "no", "–", "–"};
    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        assert_string_equal(human_setting(json_array_get(all, i)).text, text[i]);
    json_decref(all);
    assert_string_equal(human_setting(NULL).text, "–");
    assert_string_equal(human_key("cpu_per_delivery").text, "cpu per delivery");
}

static void a_long_setting_is_cut_between_characters(void **state)
{
    (void)state;
    for (size_t before = 0; before < 60; before++) {
        char text[200] = "";
        memset(text, 'x', before);
        for (int i = 0; i < 20; i++)
            strncat(text, "µ€", sizeof text - strlen(text) - 1);
        json_t *long_one = json_string(text);
        assert_non_null(long_one);
        const struct human shown = human_setting(long_one);
        json_t *again = json_string(shown.text); /* NULL when it is not UTF-8 */
        assert_non_null(again);
        assert_non_null(strstr(shown.text, "…"));
        json_decref(again);
        json_decref(long_one);
    }
}

static void padding_counts_characters_and_disarms_control_ones(void **state)
{
    (void)state;
    char text[64] = "";
    FILE *out = fmemopen(text, sizeof text, "w");
    human_pad(out, "5 µs", 6);
    human_pad(out, "a\033[1mb", -8);
    human_pad(out, "wider than that", 3);
    fclose(out);
    assert_string_equal(text, "  5 µsa?[1mb  wider than that");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_have_three_digits_and_the_nearest_unit),
        cmocka_unit_test(sizes_count_in_1024s),
        cmocka_unit_test(numbers_and_rates_are_short),
        cmocka_unit_test(counts_are_whole),
        cmocka_unit_test(whatever_the_number_it_fits),
        cmocka_unit_test(settings_of_every_kind_are_shown),
        cmocka_unit_test(a_long_setting_is_cut_between_characters),
        cmocka_unit_test(padding_counts_characters_and_disarms_control_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
