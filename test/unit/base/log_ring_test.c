#include "base/log_ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"

static void add(struct log_ring *ring, unsigned level, const char *rest)
{
    log_ring_add(ring, level, text_of(rest));
}

/* What is read, as a string of the test's. */
static const char *read_ring(
    struct log_ring *ring, uint64_t after, unsigned level, size_t bytes, uint64_t *next)
{
    static char text[4096];
    struct buf out = {0};
    *next = log_ring_read(ring, after, level, bytes, &out);
    assert_false(out.failed);
    assert_true(out.len < sizeof text);
    snprintf(text, sizeof text, "%.*s", (int)out.len, out.len ? out.data : "");
    buf_fini(&out);
    return text;
}

static void entries_are_numbered_from_one_and_read_in_order(void **state)
{
    struct log_ring *ring = log_ring_new(1024);
    uint64_t next;
    (void)state;
    assert_non_null(ring);
    assert_string_equal(read_ring(ring, 0, 0, 1000, &next), "");
    assert_int_equal(next, 0);
    add(ring, 1, ",\"a\":1}");
    add(ring, 1, ",\"b\":2}");
    assert_string_equal(
        read_ring(ring, 0, 0, 1000, &next), "{\"number\":1,\"a\":1},{\"number\":2,\"b\":2}");
    assert_int_equal(next, 2);
    assert_string_equal(read_ring(ring, 1, 0, 1000, &next), "{\"number\":2,\"b\":2}");
    assert_string_equal(read_ring(ring, 2, 0, 1000, &next), "");
    assert_int_equal(next, 2);
    log_ring_free(ring);
}

static void lower_levels_are_left_out_and_passed(void **state)
{
    struct log_ring *ring = log_ring_new(1024);
    uint64_t next;
    (void)state;
    assert_non_null(ring);
    add(ring, LOG_WARN, "w}");
    add(ring, LOG_DEBUG, "d}");
    assert_string_equal(read_ring(ring, 0, LOG_INFO, 1000, &next), "{\"number\":1w}");
    assert_int_equal(next, 2);
    log_ring_free(ring);
}

static void a_page_ends_where_it_is_full_and_the_next_goes_on(void **state)
{
    struct log_ring *ring = log_ring_new(1024);
    uint64_t next;
    (void)state;
    assert_non_null(ring);
    add(ring, 1, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}");
    add(ring, 1, "b}");
    add(ring, 1, "c}");
    /* One entry is read however large it is. */
    read_ring(ring, 0, 0, 10, &next);
    assert_int_equal(next, 1);
    assert_string_equal(read_ring(ring, next, 0, 1000, &next), "{\"number\":2b},{\"number\":3c}");
    log_ring_free(ring);
}

/* A number of before a restart: all there is comes, rather than nothing for a long time. */
static void a_number_that_is_yet_to_come_reads_from_the_beginning(void **state)
{
    struct log_ring *ring = log_ring_new(1024);
    uint64_t next;
    (void)state;
    assert_non_null(ring);
    add(ring, 1, "a}");
    assert_string_equal(read_ring(ring, 700, 0, 1000, &next), "{\"number\":1a}");
    assert_int_equal(next, 1);
    log_ring_free(ring);
}

/* Whatever the sizes, what is read are the newest entries, whole, with numbers without a gap. */
static void the_oldest_make_room_for_new_ones(void **state)
{
    enum { ROOM = 333, COUNT = 500 };
    struct log_ring *ring = log_ring_new(ROOM);
    (void)state;
    assert_non_null(ring);
    for (unsigned i = 1; i <= COUNT; i++) {
        char rest[128], expected[160];
        uint64_t next;
        int len = (int)(i * 7 % 60);
        snprintf(rest, sizeof rest, ":%0*u}", len + 4, i);
        add(ring, 1, rest);
        const char *all = read_ring(ring, 0, 0, 10000, &next);
        assert_int_equal(next, i);
        snprintf(expected, sizeof expected, "{\"number\":%u%s", i, rest);
        size_t tail = strlen(expected);
        assert_true(strlen(all) >= tail);
        assert_string_equal(all + strlen(all) - tail, expected);
        unsigned first = 0;
        assert_int_equal(sscanf(all, "{\"number\":%u", &first), 1);
        assert_true(first <= i);
        for (unsigned n = first; n <= i; n++) {
            snprintf(rest, sizeof rest, "{\"number\":%u:", n);
            assert_non_null(strstr(all, rest));
        }
    }
    log_ring_free(ring);
}

static void one_that_is_larger_than_the_ring_is_counted_only(void **state)
{
    struct log_ring *ring = log_ring_new(64);
    char large[100];
    uint64_t next;
    (void)state;
    assert_non_null(ring);
    memset(large, 'x', sizeof large);
    add(ring, 1, "a}");
    log_ring_add(ring, 1, (struct text){large, sizeof large});
    assert_string_equal(read_ring(ring, 0, 0, 1000, &next), "{\"number\":1a}");
    assert_int_equal(next, 2);
    log_ring_free(ring);
}

/* --- through the logger ----------------------------------------------------------------------- */

static void a_logger_keeps_its_lines_as_json_whatever_its_form(void **state)
{
    struct logger logger;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    uint64_t next;
    (void)state;
    logger_init(&logger, null, LOG_INFO, false);
    assert_true(logger_keep(&logger, 4096));
    LOG_LINE(&logger, LOG_DEBUG, "not wanted", LOG_NUMBER("n", 1));
    LOG_LINE(&logger, LOG_WARN, "wanted", LOG_STRING("a", "x \"y\"\n"), LOG_NUMBER("n", -3));
    logger_write(&logger, LOG_INFO, "bare", NULL, 0);
    const char *all = read_ring(logger.ring, 0, LOG_DEBUG, 4096, &next);
    assert_int_equal(next, 2);
    assert_memory_equal(all, "{\"number\":1,\"time\":\"2", 20);
    assert_non_null(strstr(all, "\",\"level\":\"warn\",\"event\":\"wanted\",\"fields\":"
                                "{\"a\":\"x \\\"y\\\"\\u000a\",\"n\":-3}},{\"number\":2,"));
    assert_non_null(strstr(all, "\"level\":\"info\",\"event\":\"bare\",\"fields\":{}}"));
    logger_fini(&logger);
    close(null);
}

static void what_is_left_out_of_the_log_is_left_out_here(void **state)
{
    struct logger logger;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)state;
    logger_init(&logger, null, LOG_INFO, true);
    assert_true(logger_keep(&logger, 65536));
    for (int i = 0; i < 1000; i++)
        LOG_LIMITED(&logger, LIMIT_CLOSE, LOG_INFO, "again", LOG_NUMBER("n", i));
    struct buf out = {0};
    assert_true(log_ring_read(logger.ring, 0, 0, 65536, &out) < 100);
    buf_fini(&out);
    logger_fini(&logger);
    close(null);
}

static void levels_have_names(void **state)
{
    (void)state;
    assert_int_equal(log_level_named(TEXT("debug")), LOG_DEBUG);
    assert_int_equal(log_level_named(TEXT("error")), LOG_ERROR);
    assert_int_equal(log_level_named(TEXT("off")), LOG_OFF);
    assert_int_equal(log_level_named(TEXT("Error")), LOG_OFF);
    assert_int_equal(log_level_named(TEXT("")), LOG_OFF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_numbered_from_one_and_read_in_order),
        cmocka_unit_test(lower_levels_are_left_out_and_passed),
        cmocka_unit_test(a_page_ends_where_it_is_full_and_the_next_goes_on),
        cmocka_unit_test(a_number_that_is_yet_to_come_reads_from_the_beginning),
        cmocka_unit_test(the_oldest_make_room_for_new_ones),
        cmocka_unit_test(one_that_is_larger_than_the_ring_is_counted_only),
        cmocka_unit_test(a_logger_keeps_its_lines_as_json_whatever_its_form),
        cmocka_unit_test(what_is_left_out_of_the_log_is_left_out_here),
        cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
