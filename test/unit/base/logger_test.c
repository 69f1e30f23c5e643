#include "base/logger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "proto/json.h"
#include "support/random.h"

/* A logger that writes into memory. */
struct book {
    struct logger logger;
    int fd;
    char text[1 << 20];
};

static struct book *book_open(enum log_level level, bool json)
{
    struct book *b = calloc(1, sizeof *b);
    assert_non_null(b);
    b->fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(b->fd >= 0);
    logger_init(&b->logger, b->fd, level, json);
    return b;
}

static const char *book_read(struct book *b)
{
    ssize_t len = pread(b->fd, b->text, sizeof b->text - 1, 0);
    assert_in_range(len, 0, sizeof b->text - 2);
    b->text[len] = '\0';
    return b->text;
}

static void book_close(struct book *b)
{
    logger_fini(&b->logger);
    close(b->fd);
    free(b);
}

/* What stands behind the time, which must look like one. */
static const char *behind_time(const char *line)
{
    static const char shape[] = "0000-00-00T00:00:00.000Z ";
    for (size_t i = 0; i < sizeof shape - 1; i++)
        if (shape[i] == '0')
            assert_in_range(line[i], '0', '9');
        else
            assert_int_equal(line[i], shape[i]);
    return line + sizeof shape - 1;
}

static void a_line_for_people_is_words_and_fields(void **state)
{
    (void)state;
    struct book *b = book_open(LOG_INFO, false);
    LOG_LINE(&b->logger, LOG_INFO, "listening", LOG_STRING("host", "::1"), LOG_NUMBER("port", 8080),
        LOG_NUMBER("least", INT64_MIN), LOG_STRING("empty", ""), LOG_STRING("words", "two words"));
    assert_string_equal(behind_time(book_read(b)),
        "info listening host=::1 port=8080 least=-9223372036854775808 empty=\"\" "
        "words=\"two words\"\n");
    book_close(b);
}

static void a_line_for_machines_is_one_json_object(void **state)
{
    (void)state;
    struct book *b = book_open(LOG_DEBUG, true);
    LOG_LINE(&b->logger, LOG_DEBUG, "closed", LOG_STRING("reason", "a \"b\"\\"),
        LOG_NUMBER("code", 1000));
    const char *line = book_read(b);
    assert_memory_equal(line, "{\"time\":\"", 9);
    assert_string_equal(strstr(line, "\",\"level"),
        "\",\"level\":\"debug\",\"event\":\"closed\",\"reason\":\"a "
        "\\\"b\\\"\\\\\",\"code\":1000}\n");
    assert_true(json_valid(line, strlen(line)));
    book_close(b);
}

static void lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    static const enum log_level levels[] = {LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR};
    static const char *const names[] = {
        "debug x n=0\n", "info x n=1\n", "warn x n=2\n", "error x n=3\n"};
    for (int least = LOG_DEBUG; least <= LOG_OFF; least++) {
        struct book *b = book_open((enum log_level)least, false);
        for (int i = 0; i < 4; i++) {
            LOG_LINE(&b->logger, levels[i], "x", LOG_NUMBER("n", i));
            logger_write(&b->logger, levels[i], "", NULL, 0);
        }
        const char *at = book_read(b);
        for (int i = least; i < 4; i++) {
            at = behind_time(at);
            assert_memory_equal(at, names[i], strlen(names[i]));
            at = behind_time(at + strlen(names[i]));
            at = strchr(at, '\n') + 1;
        }
        assert_string_equal(at, "");
        book_close(b);
    }
}

/* Broken by text fields that are always written as they are: fails. */
static void no_field_can_forge_a_line_or_another_field(void **state)
{
    (void)state;
    static const char *const wicked[] = {
        "a\nb", "a\r", "a b=c", "a=b", "\"", "\\", "\x1b[31m", "\x7f", "\xff", "\xc2\x85"};
    static const char *const written[] = {"\"a\\u000ab\"", "\"a\\u000d\"", "\"a b=c\"", "\"a=b\"",
        "\"\\\"\"", "\"\\\\\"", "\"\\u001b[31m\"", "\"\\u007f\"", "\"\\u00ff\"",
        "\"\\u00c2\\u0085\""};
    for (size_t i = 0; i < sizeof wicked / sizeof wicked[0]; i++) {
        char expected[64];
        struct book *b = book_open(LOG_INFO, false);
        LOG_LINE(&b->logger, LOG_INFO, "x", LOG_STRING("f", wicked[i]));
        snprintf(expected, sizeof expected, "info x f=%s\n", written[i]);
        assert_string_equal(behind_time(book_read(b)), expected);
        book_close(b);
    }
}

/* Broken by a line that is cut in the middle of a field: fails. */
static void whatever_the_fields_hold_a_line_is_whole_json(void **state)
{
    (void)state;
    struct random r = {3};
    char bytes[700];
    for (int round = 0; round < 3000; round++) {
        struct book *b = book_open(LOG_INFO, true);
        struct log_field fields[12];
        size_t count = 1 + (size_t)random_below(&r, 12);
        bool ascii = random_below(&r, 2);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)(ascii ? 'a' + random_below(&r, 26) : random_below(&r, 256));
        for (size_t i = 0; i < count; i++) {
            size_t len = (size_t)random_below(&r, random_below(&r, 2) ? sizeof bytes : 8);
            fields[i] =
                random_below(&r, 3) == 0
                    ? LOG_NUMBER("number", random_next(&r))
                    : LOG_TEXT("text",
                          ((struct text){bytes + random_below(&r, sizeof bytes - len), len}));
        }
        logger_write(&b->logger, LOG_WARN, "x", fields, count);
        const char *line = book_read(b);
        size_t len = strlen(line);
        assert_in_range(len, 60, 2048);
        assert_ptr_equal(strchr(line, '\n'), line + len - 1);
        if (!json_valid(line, len))
            fail_msg("%s", line);
        book_close(b);
    }
}

static void a_number_is_whole_or_not_there(void **state)
{
    (void)state;
    char bytes[512];
    memset(bytes, 0xff, sizeof bytes);
    for (size_t name = 1; name < 60; name++) {
        char *names = calloc(1, name + 1);
        memset(names, 'n', name);
        struct book *b = book_open(LOG_INFO, true);
        LOG_LINE(&b->logger, LOG_INFO, "x", LOG_TEXT("t", ((struct text){bytes, sizeof bytes})),
            LOG_NUMBER(names, 123456789));
        const char *line = book_read(b);
        const char *field = strstr(line, ",\"n");
        if (field)
            assert_string_equal(field + name + 4, "123456789}\n");
        else
            assert_memory_equal(line + strlen(line) - 3, "\"}\n", 3);
        book_close(b);
        free(names);
    }
}

static unsigned count_of(const char *text, const char *what)
{
    unsigned count = 0;
    for (; (text = strstr(text, what)) != NULL; text += strlen(what))
        count++;
    return count;
}

/* Whatever the clock does meanwhile: each line is written, or counted among those left out. */
static void what_a_stranger_provokes_is_limited_and_what_is_left_out_is_counted(void **state)
{
    (void)state;
    enum { CALLS = 3000 };
    struct book *b = book_open(LOG_INFO, false);
    uint64_t first = clock_ms() / 1000;
    for (int i = 0; i < CALLS; i++)
        LOG_LIMITED(&b->logger, LIMIT_ACCEPT, LOG_WARN, "provoked", LOG_NUMBER("n", i));
    uint64_t seconds = clock_ms() / 1000 - first + 1;
    const char *text = book_read(b);
    unsigned written = count_of(text, "warn provoked");
    unsigned left_out = b->logger.allowances[LIMIT_ACCEPT].left_out;
    for (const char *at = text; (at = strstr(at, " count=")) != NULL; at += 7)
        left_out += (unsigned)strtoul(at + 7, NULL, 10);
    assert_int_equal(written + left_out, CALLS);
    assert_in_range(written, 10, 10 * seconds);
    book_close(b);
}

static void the_number_left_out_comes_with_the_next_line(void **state)
{
    (void)state;
    struct book *b = book_open(LOG_INFO, false);
    /* As it stands after a second that has passed. */
    b->logger.allowances[LIMIT_SLOW] = (struct log_allowance){.written = 10, .left_out = 7};
    LOG_LIMITED(&b->logger, LIMIT_SLOW, LOG_WARN, "slow", LOG_NUMBER("n", 1));
    const char *text = behind_time(book_read(b));
    assert_memory_equal(text, "warn lines left out like=slow count=7\n", 38);
    assert_string_equal(behind_time(text + 38), "warn slow n=1\n");
    book_close(b);
}

static void each_kind_of_line_has_an_allowance_of_its_own(void **state)
{
    (void)state;
    struct book *b = book_open(LOG_INFO, false);
    for (int i = 0; i < 100; i++)
        LOG_LIMITED(&b->logger, LIMIT_ACCEPT, LOG_WARN, "provoked", LOG_NUMBER("n", i));
    LOG_LIMITED(&b->logger, LIMIT_CLOSE, LOG_INFO, "closed", LOG_NUMBER("n", 0));
    LOG_LIMITED(&b->logger, LIMIT_CLOSE, LOG_DEBUG, "debugged", LOG_NUMBER("n", 0));
    const char *text = book_read(b);
    assert_int_equal(count_of(text, "closed"), 1);
    assert_int_equal(count_of(text, "debugged"), 0);
    book_close(b);
}

static void a_log_that_cannot_be_written_is_no_error(void **state)
{
    (void)state;
    struct logger l;
    logger_init(&l, -1, LOG_INFO, false);
    LOG_LINE(&l, LOG_ERROR, "x", LOG_NUMBER("n", 1));
    logger_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_for_people_is_words_and_fields),
        cmocka_unit_test(a_line_for_machines_is_one_json_object),
        cmocka_unit_test(lines_below_the_level_are_not_written),
        cmocka_unit_test(no_field_can_forge_a_line_or_another_field),
        cmocka_unit_test(whatever_the_fields_hold_a_line_is_whole_json),
        cmocka_unit_test(a_number_is_whole_or_not_there),
        cmocka_unit_test(what_a_stranger_provokes_is_limited_and_what_is_left_out_is_counted),
        cmocka_unit_test(the_number_left_out_comes_with_the_next_line),
        cmocka_unit_test(each_kind_of_line_has_an_allowance_of_its_own),
        cmocka_unit_test(a_log_that_cannot_be_written_is_no_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
