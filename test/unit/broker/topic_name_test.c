#include "broker/topic_name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LIMIT = 1024 };

static void names_of_any_script_may_be_used(void **state)
{
    (void)state;
    assert_null(topic_name_fault(TEXT("a"), LIMIT));
    assert_null(topic_name_fault(TEXT("stock:AAPL"), LIMIT));
    assert_null(topic_name_fault(TEXT("any * char > at ~ all / \" \\"), LIMIT));
    assert_null(topic_name_fault(TEXT("\xC3\xBC"
                                      "bung:\xE6\x97\xA5\xE6\x9C\xAC:\xF0\x9F\x98\x80"),
        LIMIT));
    assert_null(topic_name_fault(TEXT("\xC2\xA0 no-break space, \xC2\xBF question"), LIMIT));
}

static void an_empty_name_is_refused(void **state)
{
    (void)state;
    assert_string_equal(topic_name_fault(TEXT(""), LIMIT), "Topic is empty.");
    assert_string_equal(topic_name_fault((struct text){NULL, 0}, 0), "Topic is empty.");
}

static void the_limit_counts_bytes_and_is_still_allowed(void **state)
{
    (void)state;
    assert_null(topic_name_fault(TEXT("abcd"), 4));
    assert_string_equal(topic_name_fault(TEXT("abcde"), 4), "Topic is longer than the limit.");
    assert_null(topic_name_fault(TEXT("\xC3\xA4\xC3\xA4"), 4));
    assert_string_equal(
        topic_name_fault(TEXT("\xC3\xA4\xC3\xA4\xC3\xA4"), 4), "Topic is longer than the limit.");
    assert_null(topic_name_fault(TEXT("abcde"), 0));
}

/* Every code point up to U+0100, at every place of names as long as one to three words. */
static void control_characters_are_refused_wherever_they_stand(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 0x100; c++) {
        char encoded[2] = {(char)c};
        size_t size = 1;
        if (c >= 0x80) {
            encoded[0] = (char)(0xC0 | c >> 6);
            encoded[1] = (char)(0x80 | (c & 0x3F));
            size = 2;
        }
        bool control = c < 0x20 || (c >= 0x7F && c <= 0x9F);
        for (size_t len = size; len <= 20; len++) {
            for (size_t at = 0; at + size <= len; at++) {
                char *name = malloc(len);
                assert_non_null(name);
                memset(name, 'x', len);
                memcpy(name + at, encoded, size);
                const char *fault = topic_name_fault((struct text){name, len}, LIMIT);
                free(name);
                if (control)
                    assert_string_equal(fault, "Topic contains control characters.");
                else
                    assert_null(fault);
            }
        }
    }
}

static void what_is_not_utf8_is_refused(void **state)
{
    (void)state;
    static const struct text bad[] = {
        {"\x80", 1}, {"a\xC2", 2}, {"\xED\xA0\x80", 3}, {"\xC0\x80", 2}, {"eight by\xFF", 9}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_string_equal(topic_name_fault(bad[i], LIMIT), "Topic is not UTF-8.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_any_script_may_be_used),
        cmocka_unit_test(an_empty_name_is_refused),
        cmocka_unit_test(the_limit_counts_bytes_and_is_still_allowed),
        cmocka_unit_test(control_characters_are_refused_wherever_they_stand),
        cmocka_unit_test(what_is_not_utf8_is_refused),
    };
    return cmocka_run_group_tests_name("topic_name", tests, NULL, NULL);
}
