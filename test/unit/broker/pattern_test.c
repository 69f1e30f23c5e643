#include "broker/pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum { LIMIT = 1024 };

static bool matches(const char *pattern, const char *topic)
{
    return pattern_matches(text_of(pattern), text_of(topic));
}

static const char *fault(const char *pattern)
{
    return pattern_fault(text_of(pattern), LIMIT);
}

static void a_star_stands_for_exactly_one_segment(void **state)
{
    (void)state;
    assert_true(matches("stock:*", "stock:AAPL"));
    assert_false(matches("stock:*", "stock:AAPL:bid"));
    assert_false(matches("stock:*", "stock"));
    assert_false(matches("stock:*", "stocks:AAPL"));
    assert_true(matches("*:AAPL:*", "stock:AAPL:bid"));
    assert_false(matches("*:AAPL:*", "stock:AAP:bid"));
    assert_true(matches("*", "stock"));
    assert_false(matches("*", "stock:AAPL"));
    assert_false(matches("*:*", "stock"));
}

static void a_rest_stands_for_one_segment_or_more(void **state)
{
    (void)state;
    assert_true(matches("sensor:>", "sensor:1"));
    assert_true(matches("sensor:>", "sensor:1:temperature:now"));
    assert_false(matches("sensor:>", "sensor"));
    assert_false(matches("sensor:>", "sensors:1"));
    assert_true(matches(">", "sensor"));
    assert_true(matches(">", "sensor:1"));
    assert_true(matches("*:1:>", "sensor:1:x"));
    assert_false(matches("*:1:>", "sensor:1"));
}

static void every_other_segment_stands_for_itself(void **state)
{
    (void)state;
    assert_true(matches("stock", "stock"));
    assert_false(matches("stock", "stoc"));
    assert_false(matches("stoc", "stock"));
    assert_false(matches("stock:AAPL", "stock"));
    assert_false(matches("stock", "stock:AAPL"));
    assert_false(matches("stock", "Stock"));
    assert_true(matches("\xC3\xBC:*", "\xC3\xBC:\xF0\x9F\x98\x80"));
}

static void an_empty_segment_is_a_segment(void **state)
{
    (void)state;
    assert_true(matches("stock:*", "stock:"));
    assert_true(matches("stock:>", "stock:"));
    assert_true(matches("*:*", ":"));
    assert_false(matches("*", ":"));
    assert_true(matches("a::b", "a::b"));
    assert_false(matches("a:b", "a::b"));
    assert_true(matches("a:*:b", "a::b"));
    assert_true(matches(":>", "::"));
    assert_false(matches(":>", ""));
    assert_true(matches(":", ":"));
    assert_false(matches("::", ":"));
}

static void what_is_special_in_patterns_is_not_in_topics(void **state)
{
    (void)state;
    assert_true(matches("stock:*", "stock:*"));
    assert_true(matches("*:b", ">:b"));
    assert_true(matches("a:>", "a:>"));
    assert_false(matches("a:b", "a:*"));
    assert_false(matches("a:b", "a:>"));
}

static void good_patterns_have_no_fault(void **state)
{
    static const char *const good[] = {"a", "stock:AAPL", "stock:*", "*", "*:*:*", "sensor:>", ">",
        "*:>", "a:*:b:>", ":", ":*", "::>", "\xC3\xBC:*", "a b:\"c\""};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_null(fault(good[i]));
}

static void wildcards_stand_alone_and_a_rest_stands_last(void **state)
{
    static const char beside[] = "Pattern has * or > beside other characters in a segment.";
    static const char before[] = "Pattern has > before its last segment.";
    (void)state;
    assert_string_equal(fault("a*"), beside);
    assert_string_equal(fault("*a"), beside);
    assert_string_equal(fault("x:a*b:y"), beside);
    assert_string_equal(fault("**"), beside);
    assert_string_equal(fault("*>"), beside);
    assert_string_equal(fault("a:>b"), beside);
    assert_string_equal(fault("a>"), beside);
    assert_string_equal(fault(">>"), beside);
    assert_string_equal(fault(">:a"), before);
    assert_string_equal(fault("a:>:*"), before);
    assert_string_equal(fault("a:>:"), before);
    assert_string_equal(fault(">:>"), before);
}

static void the_faults_of_names_are_told_of_patterns(void **state)
{
    (void)state;
    assert_string_equal(fault(""), "Pattern is empty.");
    assert_string_equal(pattern_fault((struct text){NULL, 0}, 0), "Pattern is empty.");
    assert_null(pattern_fault(TEXT("ab:*"), 4));
    assert_string_equal(pattern_fault(TEXT("abc:*"), 4), "Pattern is longer than the limit.");
    assert_null(pattern_fault(TEXT("abc:*"), 0));
    assert_string_equal(fault("a:\xFF:*"), "Pattern is not UTF-8.");
    assert_string_equal(fault("a:\n:*"), "Pattern contains control characters.");
    assert_string_equal(fault("a:\xC2\x85:*"), "Pattern contains control characters.");
    assert_string_equal(
        pattern_fault((struct text){"a\0:*", 4}, LIMIT), "Pattern contains control characters.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_star_stands_for_exactly_one_segment),
        cmocka_unit_test(a_rest_stands_for_one_segment_or_more),
        cmocka_unit_test(every_other_segment_stands_for_itself),
        cmocka_unit_test(an_empty_segment_is_a_segment),
        cmocka_unit_test(what_is_special_in_patterns_is_not_in_topics),
        cmocka_unit_test(good_patterns_have_no_fault),
        cmocka_unit_test(wildcards_stand_alone_and_a_rest_stands_last),
        cmocka_unit_test(the_faults_of_names_are_told_of_patterns),
    };
    return cmocka_run_group_tests_name("pattern", tests, NULL, NULL);
}
