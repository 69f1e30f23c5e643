#include "auth/curve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/random.h"

static const enum auth_kind kinds[] = {AUTH_P256, AUTH_P384, AUTH_P521};

static void a_signature_becomes_der_and_itself_again(void **state)
{
    struct random r = {9};
    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        enum auth_kind kind = kinds[round % 3];
        size_t bytes = auth_curve_bytes(kind);
        unsigned char raw[CURVE_SIGNATURE_MAX];
        unsigned char again[CURVE_SIGNATURE_MAX];
        unsigned char der[CURVE_SIGNATURE_DER_MAX];
        for (size_t i = 0; i < 2 * bytes; i++)
            raw[i] = (unsigned char)random_next(&r);
        memset(raw, 0, random_below(&r, bytes + 1)); /* small numbers are shorter */
        size_t len = curve_signature_to_der(kind, raw, der);
        assert_in_range(len, 8, CURVE_SIGNATURE_DER_MAX);
        assert_true(curve_signature_from_der(kind, der, len, again));
        assert_memory_equal(raw, again, 2 * bytes);
        for (size_t cut = 0; cut < len; cut++)
            assert_false(curve_signature_from_der(kind, der, cut, again));
    }
}

static void a_number_is_never_negative_nor_longer_than_it_needs(void **state)
{
    unsigned char raw[64] = {0x80};
    unsigned char der[CURVE_SIGNATURE_DER_MAX];
    (void)state;
    raw[63] = 0x7f;
    assert_int_equal(curve_signature_to_der(AUTH_P256, raw, der), 2 + 2 + 33 + 2 + 1);
    assert_memory_equal(der, "\x30\x26\x02\x21\x00\x80", 6);
    assert_memory_equal(der + 37, "\x02\x01\x7f", 3);
}

static void numbers_that_are_too_large_are_refused(void **state)
{
    unsigned char raw[CURVE_SIGNATURE_MAX];
    unsigned char der[CURVE_SIGNATURE_DER_MAX];
    (void)state;
    memset(raw, 0x7f, sizeof raw);
    size_t len = curve_signature_to_der(AUTH_P384, raw, der);
    assert_false(curve_signature_from_der(AUTH_P256, der, len, raw));
}

static void the_head_says_how_long_the_whole_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct text head = curve_der_head(kinds[i]);
        const unsigned char *at = (const unsigned char *)head.at;
        size_t whole = head.len + 2 * auth_curve_bytes(kinds[i]);
        assert_int_equal(at[1] == 0x81 ? at[2] + 3 : at[1] + 2, whole);
        assert_in_range(whole, 1, CURVE_DER_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signature_becomes_der_and_itself_again),
        cmocka_unit_test(a_number_is_never_negative_nor_longer_than_it_needs),
        cmocka_unit_test(numbers_that_are_too_large_are_refused),
        cmocka_unit_test(the_head_says_how_long_the_whole_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
