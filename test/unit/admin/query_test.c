#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "admin/exchange.h"

static void assert_decoded(const char *encoded, bool form, const char *want)
{
    struct buf out = {0};
    buf_append_string(&out, "+");
    bool good = percent_decode(&out, text_of(encoded), form);
    assert_int_equal(good, want != NULL);
    if (want) {
        assert_int_equal(out.len, strlen(want) + 1);
        assert_memory_equal(out.data + 1, want, strlen(want));
    }
    buf_fini(&out);
}

static void what_is_encoded_is_decoded(void **state)
{
    (void)state;
    assert_decoded("", false, "");
    assert_decoded("plain:*>", false, "plain:*>");
    assert_decoded("a%20b%2fc%2F", false, "a b/c/");
    assert_decoded("%c3%bc%E2%82%AC", false, "\xc3\xbc\xe2\x82\xac");
    assert_decoded("a+b", false, "a+b");
    assert_decoded("a+b%2B", true, "a b+");
    assert_decoded("%25%32%30", false, "%20"); /* once, and not what comes of it */
}

static void what_is_cut_or_no_number_or_a_zero_is_refused(void **state)
{
    static const char *const wrong[] = {
        "%", "a%", "%2", "%2g", "%g2", "%%20", "%00", "a%00b", "%+1", "% 1", "%-1", "%2:", "%/0"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_decoded(wrong[i], i % 2, NULL);
}

static void assert_found(
    const char *query, const char *name, enum query_result want, const char *value)
{
    struct buf out = {0};
    assert_int_equal(query_find(text_of(query), name, &out), want);
    if (want == QUERY_FOUND) {
        assert_int_equal(out.len, strlen(value));
        assert_int_equal(strncmp(out.data ? out.data : "", value, out.len), 0);
    }
    buf_fini(&out);
}

static void the_first_parameter_of_that_name_counts(void **state)
{
    (void)state;
    assert_found("a=1&b=2&a=3", "a", QUERY_FOUND, "1");
    assert_found("a=1&b=2&a=3", "b", QUERY_FOUND, "2");
    assert_found("a=1&b=2", "c", QUERY_NONE, NULL);
    assert_found("", "a", QUERY_NONE, NULL);
    assert_found("&&a=1&", "a", QUERY_FOUND, "1");
    assert_found("ab=1&aa=2", "a", QUERY_NONE, NULL);
    assert_found("a", "a", QUERY_FOUND, "");
    assert_found("a=", "a", QUERY_FOUND, "");
    assert_found("a=b=c", "a", QUERY_FOUND, "b=c");
    assert_found("a=x%26y%3dz", "a", QUERY_FOUND, "x&y=z");
    assert_found("a=%zz&a=1", "a", QUERY_BAD, NULL);
    assert_found("=1", "", QUERY_FOUND, "1");
}

static void numbers_are_digits_up_to_a_bound(void **state)
{
    static const struct {
        const char *value;
        uint64_t most;
        enum query_result result;
        uint64_t number;
    } rows[] = {
        {"n=0", 0, QUERY_FOUND, 0},
        {"n=1", 0, QUERY_BAD, 0},
        {"n=1000", 1000, QUERY_FOUND, 1000},
        {"n=1001", 1000, QUERY_BAD, 0},
        {"n=007", 7, QUERY_FOUND, 7},
        {"n=18446744073709551615", UINT64_MAX, QUERY_FOUND, UINT64_MAX},
        {"n=18446744073709551616", UINT64_MAX, QUERY_BAD, 0},
        {"n=99999999999999999999", UINT64_MAX, QUERY_BAD, 0},
        {"n=", 9, QUERY_BAD, 0},
        {"n", 9, QUERY_BAD, 0},
        {"n=-1", 9, QUERY_BAD, 0},
        {"n=+1", 9, QUERY_BAD, 0},
        {"n=1.0", 99, QUERY_BAD, 0},
        {"n=0x1", 99, QUERY_BAD, 0},
        {"n=%31%32", 99, QUERY_FOUND, 12},
        {"m=1", 9, QUERY_NONE, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t number = 77;
        assert_int_equal(
            query_number(text_of(rows[i].value), "n", rows[i].most, &number), rows[i].result);
        assert_true(number == (rows[i].result == QUERY_FOUND ? rows[i].number : 77));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(what_is_cut_or_no_number_or_a_zero_is_refused),
        cmocka_unit_test(the_first_parameter_of_that_name_counts),
        cmocka_unit_test(numbers_are_digits_up_to_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
