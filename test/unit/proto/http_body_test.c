/* Heads of requests that may have a body. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "proto/http_head.h"

#define START "POST /p HTTP/1.1\r\nHost: h\r\n"

struct expected {
    const char *lines;
    enum http_result result;
    uint64_t len;
    bool coded;
};

static const struct expected rows[] = {
    {"", HTTP_DONE, 0, false},
    {"Content-Length: 0\r\n", HTTP_DONE, 0, false},
    {"content-length: 5\r\n", HTTP_DONE, 5, false},
    {"Content-Length: 0005\r\n", HTTP_DONE, 5, false},
    {"Content-Length: 18446744073709551614\r\n", HTTP_DONE, UINT64_MAX - 1, false},
    {"Content-Length: 18446744073709551616\r\n", HTTP_DONE, UINT64_MAX, false},
    {"Content-Length: 99999999999999999999999999\r\n", HTTP_DONE, UINT64_MAX, false},
    {"Transfer-Encoding: chunked\r\n", HTTP_DONE, 0, true},
    {"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", HTTP_DONE, 0, true},
    {"Content-Length:\r\n", HTTP_BAD, 0, false},
    {"Content-Length: -1\r\n", HTTP_BAD, 0, false},
    {"Content-Length: +1\r\n", HTTP_BAD, 0, false},
    {"Content-Length: 1 2\r\n", HTTP_BAD, 0, false},
    {"Content-Length: 1,1\r\n", HTTP_BAD, 0, false},
    {"Content-Length: 0x1\r\n", HTTP_BAD, 0, false},
    {"Content-Length: 1x\r\n", HTTP_BAD, 0, false},
    {"Content-Length: 1\r\nContent-Length: 1\r\n", HTTP_BAD, 0, false},
    {"Content-Length: 1\r\nContent-Length: 2\r\n", HTTP_BAD, 0, false},
    {"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", HTTP_BAD, 0, false},
    {"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", HTTP_BAD, 0, false},
};

static void how_long_a_body_is_is_told_in_one_way(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char bytes[512] = START;
        struct http_head head;
        size_t used = 0;
        strcat(bytes, rows[i].lines);
        strcat(bytes, "\r\nbody");
        enum http_result result = http_head_read_with_body(&head, bytes, strlen(bytes), &used);
        if (result != rows[i].result)
            fail_msg("%s: %d", rows[i].lines, (int)result);
        if (result != HTTP_DONE)
            continue;
        assert_int_equal(used, strlen(bytes) - 4);
        assert_true(head.body_len == rows[i].len);
        assert_int_equal(head.coded, rows[i].coded);
    }
}

/* As it was for handshakes: none of them has one. */
static void without_bodies_all_of_that_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char bytes[512] = START;
        struct http_head head;
        size_t used = 0;
        strcat(bytes, rows[i].lines);
        strcat(bytes, "\r\n");
        bool none = !*rows[i].lines || strcmp(rows[i].lines, "Content-Length: 0\r\n") == 0;
        assert_int_equal(
            http_head_read(&head, bytes, strlen(bytes), &used), none ? HTTP_DONE : HTTP_BAD);
    }
}

/* What one request said must not be said of the next one in the same struct. */
static void a_head_that_is_read_again_forgets_the_last_one(void **state)
{
    static const char one[] = START "Content-Length: 7\r\n\r\n";
    static const char other[] = START "Transfer-Encoding: chunked\r\n\r\n";
    static const char last[] = START "\r\n";
    struct http_head head;
    size_t used;
    (void)state;
    assert_int_equal(http_head_read_with_body(&head, one, sizeof one - 1, &used), HTTP_DONE);
    assert_int_equal(head.body_len, 7);
    assert_int_equal(http_head_read_with_body(&head, other, sizeof other - 1, &used), HTTP_DONE);
    assert_int_equal(head.body_len, 0);
    assert_true(head.coded);
    assert_int_equal(http_head_read_with_body(&head, last, sizeof last - 1, &used), HTTP_DONE);
    assert_false(head.coded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(how_long_a_body_is_is_told_in_one_way),
        cmocka_unit_test(without_bodies_all_of_that_is_refused),
        cmocka_unit_test(a_head_that_is_read_again_forgets_the_last_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
