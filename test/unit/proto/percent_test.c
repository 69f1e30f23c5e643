#include "proto/percent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

/* The fields of a query, as they are. */
static void assert_fields(const char *query, const char *expected)
{
    char found[256] = "";
    struct text rest = text_of(query);
    struct text name, value;
    while (query_next(&rest, &name, &value)) {
        size_t len = strlen(found);
        snprintf(found + len, sizeof found - len, "%.*s>%.*s;", (int)name.len, name.at,
            (int)value.len, value.at);
    }
    assert_string_equal(found, expected);
}

static void fields_come_one_after_the_other(void **state)
{
    (void)state;
    assert_fields("", "");
    assert_fields("a=1", "a>1;");
    assert_fields("a=1&b=2&a=3", "a>1;b>2;a>3;");
    assert_fields("a&=&b=&&c=d=e", "a>;>;b>;>;c>d=e;");
    assert_fields("a=%26&b", "a>%26;b>;");
    assert_fields("a=1&", "a>1;");
}

static void assert_decoded(const char *encoded, bool form, const char *expected)
{
    struct buf out = {0};
    bool good = percent_decode(&out, text_of(encoded), form);
    assert_int_equal(good, expected != NULL);
    if (expected)
        assert_true(text_equal(buf_text(&out), text_of(expected)));
    buf_fini(&out);
}

static void escapes_are_bytes(void **state)
{
    (void)state;
    assert_decoded("", true, "");
    assert_decoded("a%20b%2fc%2FC", true, "a b/c/C");
    assert_decoded("a+b%2B", true, "a b+");
    assert_decoded("a+b%2B", false, "a+b+");
    assert_decoded("%ff%C3%a9", true, "\xff\xc3\xa9");
    static const char *const bad[] = {"%", "a%2", "%g0", "%0g", "%%20", "%00", "a%00b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_decoded(bad[i], true, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_come_one_after_the_other),
        cmocka_unit_test(escapes_are_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
