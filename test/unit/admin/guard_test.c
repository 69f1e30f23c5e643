#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "admin/guard.h"

static void only_addresses_and_localhost_are_local_names(void **state)
{
    static const char *const local[] = {"localhost", "LocalHost", "localhost.", "localhost:8090",
        "127.0.0.1", "127.0.0.1:1", "192.168.1.2:65535", "[::1]", "[::1]:8090", "[fe80::1]",
        "[::ffff:1.2.3.4]:5"};
    static const char *const foreign[] = {"", "example.org", "localhost.example.org", "localhostx",
        "127.0.0.1.example.org", "::1", "[::1", "::1]", "[]", "[]:1", "[::1]x", "[localhost]",
        "127.1", "2130706433", "0x7f.0.0.1", "127.0.0.1:x", "localhost:80:80", "1.2.3", "1.2.3.4.5",
        "256.1.1.1", "[1.2.3.4]",
        "00000000000000000000000000000000000000000000000000000000000000001.2.3.4"};
    (void)state;
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
        if (!guard_host_is_local(text_of(local[i])))
            fail_msg("%s", local[i]);
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        if (guard_host_is_local(text_of(foreign[i])))
            fail_msg("%s", foreign[i]);
}

/* The head of a request with these lines, which stays while `bytes` does. */
static struct http_head head_of(char *bytes, size_t size, const char *lines)
{
    struct http_head head;
    size_t used = 0;
    int len = snprintf(bytes, size, "POST / HTTP/1.1\r\nHost: localhost:8090\r\n%s\r\n", lines);
    assert_int_equal(http_head_read(&head, bytes, (size_t)len, &used), HTTP_DONE);
    return head;
}

static void assert_guarded(bool (*guard)(const struct http_head *), const char *lines, bool want)
{
    char bytes[512];
    struct http_head head = head_of(bytes, sizeof bytes, lines);
    if (guard(&head) != want)
        fail_msg("%s", lines);
}

static void an_origin_must_be_that_of_the_host(void **state)
{
    (void)state;
    assert_guarded(guard_same_origin, "", true);
    assert_guarded(guard_same_origin, "Origin: http://localhost:8090\r\n", true);
    assert_guarded(guard_same_origin, "Origin: https://LOCALHOST:8090\r\n", true);
    assert_guarded(guard_same_origin, "Origin: http://localhost\r\n", false);
    assert_guarded(guard_same_origin, "Origin: http://localhost:80900\r\n", false);
    assert_guarded(guard_same_origin, "Origin: http://localhost:8090/\r\n", false);
    assert_guarded(guard_same_origin, "Origin: null\r\n", false);
    assert_guarded(guard_same_origin, "Origin:\r\n", false);
    assert_guarded(guard_same_origin, "Origin: localhost:8090\r\n", false);
    assert_guarded(guard_same_origin, "Origin: ftp://localhost:8090\r\n", false);
    assert_guarded(guard_same_origin,
        "Origin: http://localhost:8090\r\nOrigin: http://evil.example\r\n", false);
}

static void a_body_must_be_called_json(void **state)
{
    (void)state;
    assert_guarded(guard_is_json, "Content-Type: application/json\r\n", true);
    assert_guarded(guard_is_json, "content-type: APPLICATION/JSON\t ; charset=utf-8\r\n", true);
    assert_guarded(guard_is_json, "", false);
    assert_guarded(guard_is_json, "Content-Type:\r\n", false);
    assert_guarded(guard_is_json, "Content-Type: text/plain\r\n", false);
    assert_guarded(guard_is_json, "Content-Type: application/jsonx\r\n", false);
    assert_guarded(guard_is_json, "Content-Type: text/plain;application/json\r\n", false);
    assert_guarded(
        guard_is_json, "Content-Type: application/json\r\nContent-Type: text/plain\r\n", false);
}

static void a_token_must_be_the_whole_one_and_no_more(void **state)
{
    static const struct {
        const char *lines;
        bool good;
    } rows[] = {
        {"Authorization: Bearer secret\r\n", true},
        {"authorization: bearer  secret \r\n", true},
        {"", false},
        {"Authorization:\r\n", false},
        {"Authorization: Bearer\r\n", false},
        {"Authorization: Bearer secre\r\n", false},
        {"Authorization: Bearer secrets\r\n", false},
        {"Authorization: Bearer Secret\r\n", false},
        {"Authorization: Bearer secretsecret\r\n", false},
        {"Authorization: Bearersecret\r\n", false},
        {"Authorization: Basic secret\r\n", false},
        {"Authorization: secret\r\n", false},
        {"Authorization: Bearer secret\r\nAuthorization: Bearer secret\r\n", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char bytes[512];
        struct http_head head = head_of(bytes, sizeof bytes, rows[i].lines);
        if (guard_has_token(&head, TEXT("secret")) != rows[i].good)
            fail_msg("%s", rows[i].lines);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_addresses_and_localhost_are_local_names),
        cmocka_unit_test(an_origin_must_be_that_of_the_host),
        cmocka_unit_test(a_body_must_be_called_json),
        cmocka_unit_test(a_token_must_be_the_whole_one_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
