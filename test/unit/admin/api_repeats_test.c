#include "admin/api_repeats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

static struct text key_of(unsigned i)
{
    static char key[32];
    snprintf(key, sizeof key, "key %u", i);
    return text_of(key);
}

static void a_key_is_found_until_its_time_is_over(void **state)
{
    struct repeats r;
    (void)state;
    repeats_init(&r);
    assert_null(repeats_find(&r, TEXT("k"), 0));
    struct repeat *repeat = repeats_add(&r, TEXT("k"), TEXT("topic"), 1000);
    assert_non_null(repeat);
    repeat->offset = 7;
    const struct repeat *found = repeats_find(&r, TEXT("k"), 1000 + REPEATS_MS - 1);
    assert_ptr_equal(found, repeat);
    assert_int_equal(found->offset, 7);
    assert_true(text_equal(repeat_topic(found), TEXT("topic")));
    assert_null(repeats_find(&r, TEXT("kk"), 1000));
    assert_null(repeats_find(&r, TEXT(""), 1000));
    assert_null(repeats_find(&r, TEXT("k"), 1000 + REPEATS_MS));
    assert_int_equal(r.map.count, 0);
    assert_int_equal(r.bytes, 0);
    repeats_fini(&r);
}

static void one_that_failed_is_forgotten(void **state)
{
    struct repeats r;
    (void)state;
    repeats_init(&r);
    repeats_forget(&r, repeats_add(&r, TEXT("k"), TEXT("t"), 0));
    assert_null(repeats_find(&r, TEXT("k"), 0));
    assert_int_equal(r.bytes, 0);
    repeats_fini(&r);
}

static void of_too_many_the_oldest_are_forgotten(void **state)
{
    enum { MORE = 1000 };
    struct repeats r;
    (void)state;
    repeats_init(&r);
    for (unsigned i = 0; i < REPEATS_MOST + MORE; i++)
        assert_non_null(repeats_add(&r, key_of(i), TEXT("topic"), 0));
    assert_int_equal(r.map.count, REPEATS_MOST);
    assert_true(r.bytes <= REPEATS_BYTES);
    for (unsigned i = 0; i < REPEATS_MOST + MORE; i++)
        assert_int_equal(repeats_find(&r, key_of(i), 1) != NULL, i >= MORE);
    repeats_fini(&r);
}

static void large_ones_are_bounded_by_their_bytes(void **state)
{
    struct repeats r;
    char topic[60000];
    (void)state;
    for (size_t i = 0; i < sizeof topic; i++)
        topic[i] = 'x';
    repeats_init(&r);
    for (unsigned i = 0; i < 2000; i++) {
        assert_non_null(repeats_add(&r, key_of(i), (struct text){topic, sizeof topic}, 0));
        assert_true(r.bytes <= REPEATS_BYTES);
    }
    assert_true(r.map.count > 500);
    assert_null(repeats_find(&r, key_of(0), 1));
    assert_non_null(repeats_find(&r, key_of(1999), 1));
    repeats_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_found_until_its_time_is_over),
        cmocka_unit_test(one_that_failed_is_forgotten),
        cmocka_unit_test(of_too_many_the_oldest_are_forgotten),
        cmocka_unit_test(large_ones_are_bounded_by_their_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
