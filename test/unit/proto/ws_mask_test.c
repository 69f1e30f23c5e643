#include "proto/ws_mask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LONGEST = 300, PLACES = 16, FENCE = 0x5A };

static const uint8_t key[4] = {0x80, 0x91, 0x22, 0xf3};

/* On the heap and of exact size, so that a sanitizer sees a step past the end. */
static uint8_t *room(size_t len)
{
    uint8_t *bytes = malloc(len ? len : 1);
    assert_non_null(bytes);
    return bytes;
}

static void all_lengths_at_all_places_are_masked_byte_by_byte(void **state)
{
    (void)state;
    for (size_t len = 0; len <= LONGEST; len++) {
        for (size_t place = 0; place < PLACES; place++) {
            for (size_t offset = 0; offset < 5; offset++) {
                uint8_t *bytes = room(place + len);
                memset(bytes, FENCE, place);
                for (size_t i = 0; i < len; i++)
                    bytes[place + i] = (uint8_t)(i * 7);
                ws_mask(bytes + place, len, key, offset);
                for (size_t i = 0; i < place; i++)
                    assert_int_equal(bytes[i], FENCE);
                for (size_t i = 0; i < len; i++)
                    assert_int_equal(
                        bytes[place + i], (uint8_t)(i * 7) ^ key[(offset + i) % sizeof key]);
                free(bytes);
            }
        }
    }
}

static void one_byte_that_is_not_ascii_is_seen_wherever_it_stands(void **state)
{
    (void)state;
    for (size_t len = 0; len <= LONGEST; len++) {
        uint8_t *bytes = room(len);
        for (size_t odd = 0; odd <= len; odd++) {
            for (size_t i = 0; i < len; i++)
                bytes[i] = (i == odd ? 0x80 : 0x7F) ^ key[(odd + i) % sizeof key];
            assert_int_equal(ws_mask(bytes, len, key, odd), odd == len);
        }
        free(bytes);
    }
}

static void what_stands_behind_is_left_alone(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 130; len++) {
        uint8_t bytes[130 + 64];
        memset(bytes, FENCE, sizeof bytes);
        ws_mask(bytes, len, key, 1);
        for (size_t i = len; i < sizeof bytes; i++)
            assert_int_equal(bytes[i], FENCE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_lengths_at_all_places_are_masked_byte_by_byte),
        cmocka_unit_test(one_byte_that_is_not_ascii_is_seen_wherever_it_stands),
        cmocka_unit_test(what_stands_behind_is_left_alone),
    };
    return cmocka_run_group_tests_name("ws_mask", tests, NULL, NULL);
}
