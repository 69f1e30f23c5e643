#include "base/units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct good {
    const char *text;
    uint64_t value;
};

typedef bool parser(const char *text, uint64_t *out);

static void assert_all(parser *parse, const struct good *good)
{
    for (; good->text; good++) {
        uint64_t value = 4711;
        if (!parse(good->text, &value))
            fail_msg("%s is refused", good->text);
        if (value != good->value)
            fail_msg("%s is %llu", good->text, (unsigned long long)value);
    }
}

static void assert_none(parser *parse, const char *const *bad)
{
    for (; *bad; bad++) {
        uint64_t value;
        if (parse(*bad, &value))
            fail_msg("%s is %llu", *bad, (unsigned long long)value);
    }
}

static void numbers_are_whole_and_fit(void **state)
{
    (void)state;
    static const struct good good[] = {
        {"0", 0}, {"007", 7}, {"65535", 65535}, {"18446744073709551615", UINT64_MAX}, {NULL, 0}};
    static const char *const bad[] = {"", " 1", "1 ", "-1", "+1", "1.5", "0x10", "1k", "one",
        "18446744073709551616", "99999999999999999999", NULL};
    assert_all(units_number, good);
    assert_none(units_number, bad);
}

static void sizes_are_in_powers_of_1024(void **state)
{
    (void)state;
    static const struct good good[] = {{"0", 0}, {"12", 12}, {"0k", 0}, {"1k", 1024}, {"2K", 2048},
        {"3m", 3145728}, {"3M", 3145728}, {"1g", 1073741824}, {"1G", 1073741824},
        {"17179869183g", 17179869183u * 1073741824}, {NULL, 0}};
    static const char *const bad[] = {"", "k", "1kb", "1t", "1 k", "1.5m", "-1k", "1\x0b", "1\v",
        "17179869184g", "18446744073709551615k", NULL};
    assert_all(units_size, good);
    assert_none(units_size, bad);
}

static void times_are_in_seconds_unless_they_say_otherwise(void **state)
{
    (void)state;
    static const struct good good[] = {{"0", 0}, {"10", 10000}, {"10s", 10000}, {"10S", 10000},
        {"10ms", 10}, {"10MS", 10}, {"2m", 120000}, {"1h", 3600000}, {"1.5", 1500}, {"0.25s", 250},
        {"1.5m", 90000}, {"0.5h", 1800000}, {"0.001", 1}, {"0.0019", 1}, {"1.5ms", 1},
        {"0.123456789123456789123456789", 123}, {NULL, 0}};
    static const char *const bad[] = {"", "s", ".5", "1.", "1.s", "1d", "1sec", "-1", "1 s",
        "1.5.5", "18446744073709551615", "18446744073709551615h", NULL};
    assert_all(units_time, good);
    assert_none(units_time, bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_whole_and_fit),
        cmocka_unit_test(sizes_are_in_powers_of_1024),
        cmocka_unit_test(times_are_in_seconds_unless_they_say_otherwise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
