#include "hermes-bench/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MESSAGE "{\"type\":\"message\",\"topic\":"

/* From memory of exactly that size, so that reading on would be seen. */
static bool reads(const char *text, struct envelope *out)
{
    static char *copy;
    size_t len = strlen(text);
    free(copy);
    copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    return envelope_read(copy, len, out);
}

static void assert_envelope(const char *text, const char *topic, const char *data, uint64_t offset)
{
    struct envelope e;
    assert_true(reads(text, &e));
    assert_int_equal(e.topic_len, strlen(topic));
    assert_memory_equal(e.topic, topic, e.topic_len);
    assert_int_equal(e.data_len, strlen(data));
    assert_memory_equal(e.data, data, e.data_len);
    assert_int_equal(e.offset, offset);
}

static void topic_data_and_offset_are_found(void **state)
{
    (void)state;
    assert_envelope(MESSAGE "\"t\",\"data\":1,\"offset\":1}", "t", "1", 1);
    assert_envelope(
        MESSAGE "\"a:b\",\"data\":\"x\",\"offset\":1234567890123}", "a:b", "\"x\"", 1234567890123);
    assert_envelope(MESSAGE "\"t\",\"data\":{\"a\":[]},\"offset\":9}", "t", "{\"a\":[]}", 9);
}

static void data_that_looks_like_an_end_is_data(void **state)
{
    (void)state;
    assert_envelope(
        MESSAGE "\"t\",\"data\":\",\"offset\":5}\",\"offset\":10}", "t", "\",\"offset\":5}\"", 10);
    assert_envelope(MESSAGE "\"t\",\"data\":{\"a\":1,\"offset\":7},\"offset\":10}", "t",
        "{\"a\":1,\"offset\":7}", 10);
}

static void everything_else_is_left_to_others(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "{\"type\":\"info\",\"message\":\"m\"}",
        "{\"type\":\"messages\",\"topic\":\"t\",\"data\":1,\"offset\":1}",
        MESSAGE,
        MESSAGE "\"",
        MESSAGE "\"t\"",
        MESSAGE "\"t\",\"data\":",
        MESSAGE "\"t\",\"data\":1}",
        MESSAGE "\"t\",\"data\":1,\"offset\":}",
        MESSAGE "\"t\",\"data\":1,\"offset\":0}",
        MESSAGE "\"t\",\"data\":1,\"offset\":1",
        MESSAGE "\"t\",\"data\":1,\"offset\":1,\"pattern\":\"*\"}",
        MESSAGE "\"t\",\"data\":1,\"offset\":-1}",
        MESSAGE "\"t\",\"offset\":1,\"data\":1}",
        MESSAGE "\"t\",\"data\":11111}",
    };
    struct envelope e;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (reads(texts[i], &e))
            fail_msg("read: %s", texts[i]);
}

static void no_cut_of_it_is_read(void **state)
{
    static const char text[] = MESSAGE "\"topic\",\"data\":[1,2],\"offset\":12}";
    char cut[sizeof text];
    struct envelope e;
    (void)state;
    for (size_t len = 0; len < sizeof text - 1; len++) {
        memcpy(cut, text, len);
        cut[len] = '\0';
        assert_false(reads(cut, &e));
    }
    assert_true(reads(text, &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topic_data_and_offset_are_found),
        cmocka_unit_test(data_that_looks_like_an_end_is_data),
        cmocka_unit_test(everything_else_is_left_to_others),
        cmocka_unit_test(no_cut_of_it_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
