#include "admin/api_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void members_are_exact_spans(void **state)
{
    struct text body = json_body(TEXT(" \n{ \"a\" : 170.50 ,\"b\":{\"a\":[1,2]}, \"\":\"x\"\t} "));
    struct json_walk walk = json_walk(body);
    struct text key, value;
    (void)state;
    assert_int_equal(body.at[0], '{');
    assert_true(json_walk_member(&walk, &key, &value));
    assert_true(text_equal(key, TEXT("\"a\"")));
    assert_true(text_equal(value, TEXT("170.50")));
    assert_true(json_walk_member(&walk, &key, &value));
    assert_true(text_equal(value, TEXT("{\"a\":[1,2]}")));
    assert_true(json_walk_member(&walk, &key, &value));
    assert_true(text_equal(key, TEXT("\"\"")));
    assert_true(text_equal(value, TEXT("\"x\"")));
    assert_false(json_walk_member(&walk, &key, &value));
    assert_false(json_walk_member(&walk, &key, &value));
}

static void elements_are_exact_spans(void **state)
{
    struct json_walk walk = json_walk(json_body(TEXT("[ [1 , 2],{} ,-0e5 , \"]\" ]")));
    const struct text expected[] = {TEXT("[1 , 2]"), TEXT("{}"), TEXT("-0e5"), TEXT("\"]\"")};
    struct text value;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_true(json_walk_element(&walk, &value));
        assert_true(text_equal(value, expected[i]));
    }
    assert_false(json_walk_element(&walk, &value));
}

static void the_empty_have_nothing_in_them(void **state)
{
    struct text key, value;
    (void)state;
    struct json_walk walk = json_walk(json_body(TEXT("{ }")));
    assert_false(json_walk_member(&walk, &key, &value));
    walk = json_walk(json_body(TEXT("[]")));
    assert_false(json_walk_element(&walk, &value));
}

static void a_word_may_be_escaped(void **state)
{
    (void)state;
    assert_true(json_is(TEXT("\"topic\""), "topic"));
    assert_true(json_is(TEXT("\"\\u0074opi\\u0063\""), "topic"));
    assert_false(json_is(TEXT("\"topics\""), "topic"));
    assert_false(json_is(TEXT("\"\""), "topic"));
    assert_false(json_is(TEXT("7"), "7"));
    assert_false(json_is(TEXT("\"\\ud800\""), "topic"));
}

static void strings_are_decoded_behind_what_is_there(void **state)
{
    struct buf out = {0};
    (void)state;
    buf_append_string(&out, "x");
    assert_true(json_take_string(TEXT("\"a\\nb\\u00e9\""), &out));
    assert_true(text_equal(buf_text(&out), TEXT("xa\nb\xc3\xa9")));
    assert_false(json_take_string(TEXT("\"\\ud800\""), &out));
    assert_false(json_take_string(TEXT("12"), &out));
    assert_false(json_take_string(TEXT("null"), &out));
    assert_false(out.failed);
    assert_int_equal(out.len, 6);
    buf_fini(&out);
}

static void numbers_are_whole_and_not_over_the_limit(void **state)
{
    uint64_t n = 0;
    (void)state;
    assert_true(json_take_number(TEXT("4999"), 4999, &n));
    assert_int_equal(n, 4999);
    assert_true(json_take_number(TEXT("18446744073709551615"), UINT64_MAX, &n));
    assert_true(n == UINT64_MAX);
    assert_true(json_take_number(TEXT("0"), 0, &n));
    n = 5;
    assert_false(json_take_number(TEXT("5000"), 4999, &n));
    assert_false(json_take_number(TEXT("18446744073709551616"), UINT64_MAX, &n));
    assert_false(json_take_number(TEXT("-1"), 10, &n));
    assert_false(json_take_number(TEXT("1.0"), 10, &n));
    assert_false(json_take_number(TEXT("1e1"), 10, &n));
    assert_false(json_take_number(TEXT("\"1\""), 10, &n));
    assert_false(json_take_number(TEXT("5"), 4, &n));
    assert_int_equal(n, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_exact_spans),
        cmocka_unit_test(elements_are_exact_spans),
        cmocka_unit_test(the_empty_have_nothing_in_them),
        cmocka_unit_test(a_word_may_be_escaped),
        cmocka_unit_test(strings_are_decoded_behind_what_is_there),
        cmocka_unit_test(numbers_are_whole_and_not_over_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
