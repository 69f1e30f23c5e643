#include "hermes-bench/payload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct payload samples[] = {
    {0, 0, 0, 0},
    {1, 2, 3, 4},
    {0xfedcba98, 0x123456, 0xabcdef0123, 0x0123456789abcdef},
    {UINT32_MAX, PAYLOAD_PUBLISHERS - 1, PAYLOAD_NUMBERS - 1, UINT64_MAX},
};
enum { SAMPLES = sizeof samples / sizeof *samples };

static const size_t sizes[] = {PAYLOAD_LEAST, 51, 57, 64, 256, 1024, 70000};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void what_is_written_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZES; i++) {
        struct payload_form form;
        payload_form_init(&form, sizes[i]);
        char *text = malloc(sizes[i]);
        for (size_t k = 0; k < SAMPLES; k++) {
            struct payload got;
            payload_write(&form, text, &samples[k]);
            assert_int_equal(payload_read(&form, text, sizes[i], &got), PAYLOAD_GOOD);
            assert_int_equal(got.topic, samples[k].topic);
            assert_int_equal(got.publisher, samples[k].publisher);
            assert_true(got.number == samples[k].number);
            assert_true(got.moment == samples[k].moment);
        }
        free(text);
        payload_form_fini(&form);
    }
}

static void it_is_a_json_string_that_a_person_can_read(void **state)
{
    (void)state;
    struct payload_form form;
    char text[64];
    payload_form_init(&form, sizeof text);
    payload_write(&form, text, &(struct payload){0x2a, 0x7, 0x1f, 0xabc});
    assert_memory_equal(text,
        "\"0000002a00000700000000"
        "1f0000000000000abc",
        41);
    assert_int_equal(text[63], '"');
    for (size_t i = 1; i < 63; i++)
        assert_true(text[i] >= '0' && text[i] <= 'z' && text[i] != '\\' && text[i] != '"');
    payload_form_fini(&form);
}

static void every_byte_that_is_changed_is_seen(void **state)
{
    (void)state;
    static const struct payload sent = {0x1a2b3c, 77, 123456789, 0x123456789abcdef};
    for (size_t i = 0; i < 5; i++) {
        struct payload_form form;
        size_t size = sizes[i];
        payload_form_init(&form, size);
        char *text = malloc(size);
        for (size_t at = 0; at < size; at++)
            for (int bit = 0; bit < 8; bit++) {
                struct payload got;
                payload_write(&form, text, &sent);
                text[at] = (char)(text[at] ^ 1 << bit);
                assert_int_not_equal(payload_read(&form, text, size, &got), PAYLOAD_GOOD);
            }
        free(text);
        payload_form_fini(&form);
    }
}

static void another_length_is_seen(void **state)
{
    (void)state;
    struct payload_form form;
    char text[300] = {0};
    struct payload got;
    payload_form_init(&form, 256);
    payload_write(&form, text, &samples[1]);
    for (size_t len = 0; len < sizeof text; len++)
        assert_int_equal(payload_read(&form, text, len, &got) == PAYLOAD_GOOD, len == 256);
    payload_form_fini(&form);
}

static void damage_behind_the_head_leaves_the_number_known(void **state)
{
    (void)state;
    struct payload_form form;
    char text[256];
    struct payload got = {0};
    payload_form_init(&form, sizeof text);
    payload_write(&form, text, &samples[2]);
    text[200] ^= 1;
    assert_int_equal(payload_read(&form, text, sizeof text, &got), PAYLOAD_TORN);
    assert_true(got.number == samples[2].number);
    text[20] ^= 1;
    assert_int_equal(payload_read(&form, text, sizeof text, &got), PAYLOAD_STRANGE);
    payload_form_fini(&form);
}

static void the_end_of_one_message_does_not_pass_for_that_of_another(void **state)
{
    (void)state;
    struct payload_form form;
    char one[256];
    char other[256];
    struct payload got;
    payload_form_init(&form, sizeof one);
    for (uint64_t n = 1; n < 64; n++) {
        payload_write(&form, one, &(struct payload){1, 1, 1000, 5});
        payload_write(&form, other, &(struct payload){1, 1, 1000 + n, 5});
        memcpy(one + 50, other + 50, sizeof one - 50);
        assert_int_equal(payload_read(&form, one, sizeof one, &got), PAYLOAD_TORN);
    }
    payload_form_fini(&form);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(it_is_a_json_string_that_a_person_can_read),
        cmocka_unit_test(every_byte_that_is_changed_is_seen),
        cmocka_unit_test(another_length_is_seen),
        cmocka_unit_test(damage_behind_the_head_leaves_the_number_known),
        cmocka_unit_test(the_end_of_one_message_does_not_pass_for_that_of_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
