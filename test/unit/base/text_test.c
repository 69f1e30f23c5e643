#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct text nothing = {NULL, 0};

static void a_text_may_hold_a_zero_byte(void **state)
{
    (void)state;
    assert_int_equal(TEXT("a\0b").len, 3);
    assert_int_equal(text_of("a\0b").len, 1);
    assert_false(text_equal(TEXT("a\0b"), TEXT("a\0c")));
    assert_int_not_equal(text_compare(TEXT("a\0b"), TEXT("a\0c")), 0);
}

static void equal_means_same_length_and_bytes(void **state)
{
    (void)state;
    assert_true(text_equal(TEXT("abc"), text_of("abc")));
    assert_false(text_equal(TEXT("abc"), TEXT("ab")));
    assert_false(text_equal(TEXT("abc"), TEXT("abd")));
    assert_true(text_equal(nothing, TEXT("")));
    assert_false(text_equal(nothing, TEXT("a")));
}

static int sign(int n)
{
    return (n > 0) - (n < 0);
}

static void the_order_is_by_unsigned_bytes_then_the_shorter_first(void **state)
{
    (void)state;
    static const struct text ordered[] = {{"", 0}, {"\0", 1}, {"a", 1}, {"a\0", 2}, {"aa", 2},
        {"b", 1}, {"\x7F", 1}, {"\xC3\xA4", 2}};
    const size_t count = sizeof ordered / sizeof *ordered;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < count; k++)
            assert_int_equal(sign(text_compare(ordered[i], ordered[k])), (i > k) - (i < k));
    assert_int_equal(text_compare(nothing, nothing), 0);
    assert_true(text_compare(nothing, TEXT("a")) < 0);
}

static void every_text_starts_with_nothing_and_with_itself(void **state)
{
    (void)state;
    assert_true(text_starts_with(TEXT("stock:A"), TEXT("stock:")));
    assert_true(text_starts_with(TEXT("stock:A"), TEXT("stock:A")));
    assert_false(text_starts_with(TEXT("stock"), TEXT("stock:")));
    assert_false(text_starts_with(TEXT("stuck"), TEXT("stock")));
    assert_true(text_starts_with(TEXT("a"), nothing));
    assert_true(text_starts_with(nothing, nothing));
    assert_false(text_starts_with(nothing, TEXT("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_may_hold_a_zero_byte),
        cmocka_unit_test(equal_means_same_length_and_bytes),
        cmocka_unit_test(the_order_is_by_unsigned_bytes_then_the_shorter_first),
        cmocka_unit_test(every_text_starts_with_nothing_and_with_itself),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
