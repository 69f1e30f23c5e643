#include "auth/base64url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool decodes(const char *text, const char *bytes)
{
    unsigned char out[64];
    size_t len;
    return base64url_decode(text_of(text), out, &len) && len == strlen(bytes) &&
           memcmp(out, bytes, len) == 0;
}

static bool refuses(const char *text)
{
    unsigned char out[64];
    size_t len;
    return !base64url_decode(text_of(text), out, &len);
}

static void the_examples_of_rfc_4648_hold_without_padding(void **state)
{
    static const char *const rows[][2] = {{"", ""}, {"f", "Zg"}, {"fo", "Zm8"}, {"foo", "Zm9v"},
        {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xbf", "-_-_"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out = {0};
        base64url_append(&out, (const unsigned char *)rows[i][0], strlen(rows[i][0]));
        assert_true(text_equal(buf_text(&out), text_of(rows[i][1])));
        assert_true(decodes(rows[i][1], rows[i][0]));
        buf_fini(&out);
    }
}

static void nothing_but_the_one_text_for_some_bytes_is_taken(void **state)
{
    (void)state;
    assert_true(refuses("Zg=="));
    assert_true(refuses("Zh"));
    assert_true(refuses("Zm9"));
    assert_true(refuses("Z"));
    assert_true(refuses("Zm9vY"));
    assert_true(refuses("+_-_"));
    assert_true(refuses("/_-_"));
    assert_true(refuses("Zm 9v"));
    assert_true(refuses("Zm9v\n"));
    assert_true(refuses("Zm9\xc3"));
}

static void each_text_that_is_taken_is_what_its_bytes_become(void **state)
{
    unsigned char bytes[8];
    (void)state;
    for (uint32_t i = 0; i < 1u << 16; i++) {
        size_t len;
        struct buf out = {0};
        char text[3] = {(char)i, (char)(i >> 8), 'A'};
        for (size_t size = 1; size <= 3; size++) {
            struct text t = {text, size};
            if (!base64url_decode(t, bytes, &len))
                continue;
            assert_true(len <= BASE64URL_BYTES(size));
            buf_clear(&out);
            base64url_append(&out, bytes, len);
            assert_true(text_equal(buf_text(&out), t));
        }
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_rfc_4648_hold_without_padding),
        cmocka_unit_test(nothing_but_the_one_text_for_some_bytes_is_taken),
        cmocka_unit_test(each_text_that_is_taken_is_what_its_bytes_become),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
