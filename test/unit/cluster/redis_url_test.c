/* WS_REDIS_URL: what is read of it, and what is said about what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/redis_url.h"

/* Stand before the C library's. */
static unsigned wiped;
void __explicit_bzero_chk(void *at, size_t len, size_t room);

void explicit_bzero(void *at, size_t len)
{
    const char *volatile was = at; /* which the compiler takes to be written only */
    wiped += len == 6 && memcmp(was, "hidden", 6) == 0;
    memset(at, 0, len);
}

/* What it is called with _FORTIFY_SOURCE. */
void __explicit_bzero_chk(void *at, size_t len, size_t room)
{
    assert_true(len <= room);
    (explicit_bzero)(at, len);
}

static void passwords_are_wiped(void **state)
{
    struct redis_url *list;
    char error[200];
    (void)state;
    wiped = 0;
    size_t count = redis_urls_read("redis://:hidden@a,redis://u:hidden@b", &list, error, 200);
    assert_int_equal(count, 2);
    assert_int_equal(wiped, 0);
    redis_urls_free(list, count);
    assert_int_equal(wiped, 2);
    assert_int_equal(redis_urls_read("redis://:hidden@a,redis://b:x", &list, error, 200), 0);
    assert_int_equal(wiped, 3);
}

static const char *or_none(const char *text)
{
    return text ? text : "-";
}

static void urls_are_read(void **state)
{
    static const struct {
        const char *text;
        const char *read; /* tls user password host port db */
    } good[] = {
        {"redis://h", "0 - - h 6379 0"},
        {"redis://h/", "0 - - h 6379 0"},
        {"redis://h:7000", "0 - - h 7000 0"},
        {"redis://h:65535/15", "0 - - h 65535 15"},
        {"rediss://cache.example.org:1/2", "1 - - cache.example.org 1 2"},
        {"REDIS://H", "0 - - H 6379 0"},
        {"Rediss://H", "1 - - H 6379 0"},
        {"redis://u:p@h", "0 u p h 6379 0"},
        {"redis://:p@h", "0 - p h 6379 0"},
        {"redis://u:p%40%2f%3A%2C%25@h", "0 u p@/:,% h 6379 0"},
        {"redis://u%3a:p@h", "0 u: p h 6379 0"},
        {"redis://:a:b@h", "0 - a:b h 6379 0"},
        {"redis://:a@b@h", "0 - a@b h 6379 0"},
        {"redis://:a/b@h/3", "0 - a/b h 6379 3"},
        {"redis://10.1.2.3", "0 - - 10.1.2.3 6379 0"},
        {"redis://[::1]", "0 - - ::1 6379 0"},
        {"redis://[2001:db8::1.2.3.4]:1/1", "0 - - 2001:db8::1.2.3.4 1 1"},
        {"  redis://h \n", "0 - - h 6379 0"},
        {"redis://a_b-c", "0 - - a_b-c 6379 0"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct redis_url *list;
        char error[200] = "";
        char read[200];
        size_t count = redis_urls_read(good[i].text, &list, error, sizeof error);
        if (count != 1)
            fail_msg("%s: %s", good[i].text, error);
        snprintf(read, sizeof read, "%d %s %s %s %s %u", list->tls, or_none(list->user),
            or_none(list->password), list->host, list->port, list->db);
        assert_string_equal(read, good[i].read);
        redis_urls_free(list, count);
    }
}

static void several_are_read_in_their_order(void **state)
{
    struct redis_url *list;
    char error[200];
    (void)state;
    assert_int_equal(
        redis_urls_read("redis://a,rediss://:p@b:1 , redis://[::1]/7", &list, error, sizeof error),
        3);
    assert_string_equal(list[0].host, "a");
    assert_false(list[0].tls);
    assert_string_equal(list[1].host, "b");
    assert_true(list[1].tls);
    assert_string_equal(list[1].password, "p");
    assert_string_equal(list[2].host, "::1");
    assert_int_equal(list[2].db, 7);
    redis_urls_free(list, 3);
}

static void what_is_no_url_is_refused(void **state)
{
    static const struct {
        const char *text;
        const char *error;
    } bad[] = {
        {"", "begin with redis://"},
        {"h:6379", "begin with redis://"},
        {"redis:/h", "begin with redis://"},
        {"http://h", "begin with redis://"},
        {"redisss://h", "begin with redis://"},
        {"rediss:/", "begin with redis://"},
        {"redis://", "no host"},
        {"rediss://", "no host"},
        {"redis:///1", "no host"},
        {"redis://:6379", "no host"},
        {"redis://[]", "no host"},
        {"redis://[::1", "brackets"},
        {"redis://::1", "no host"},
        {"redis://h i", "follows the host"},
        {"redis://h?db=1", "follows the host"},
        {"redis://h:", "port"},
        {"redis://h:0", "port"},
        {"redis://h:65536", "port"},
        {"redis://h:99999999999999999999", "port"},
        {"redis://h:-1", "port"},
        {"redis://h:12x", "follows the host"},
        {"redis://h/x", "database"},
        {"redis://h/1x", "database"},
        {"redis://h/65536", "database"},
        {"redis://h/-1", "database"},
        {"redis://u@h", "needs a password"},
        {"redis://u:@h", "is empty"},
        {"redis://:@h", "is empty"},
        {"redis://:hidden%@h", "hexadecimal"},
        {"redis://:hidden%4@h", "hexadecimal"},
        {"redis://:hidden%4g@h", "hexadecimal"},
        {"redis://:hidden%00@h", "hexadecimal"},
        {"redis://:hidden@", "no host"},
        {"redis://:hidden@h:x", "port"},
        {"redis://:hidden,more@h", "address 1 of 2"},
        {"redis://a,", "address 2 of 2"},
        {",redis://a", "address 1 of 2"},
        {"redis://a,,redis://b", "address 2 of 3"},
        {"redis://a,redis://:hidden@b:x", "address 2 of 2: the port"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct redis_url *list;
        char error[200] = "";
        if (redis_urls_read(bad[i].text, &list, error, sizeof error) != 0)
            fail_msg("%s was read", bad[i].text);
        assert_null(list);
        if (!strstr(error, bad[i].error))
            fail_msg("%s: %s", bad[i].text, error);
        assert_null(strstr(error, "hidden"));
    }
}

static void what_is_too_long_or_too_many_is_refused(void **state)
{
    struct redis_url *list;
    char error[200];
    char text[8000];
    (void)state;
    snprintf(text, sizeof text, "redis://%0300d", 1);
    assert_int_equal(redis_urls_read(text, &list, error, sizeof error), 0);
    assert_non_null(strstr(error, "too long"));
    snprintf(text, sizeof text, "redis://:%05000d@h", 1);
    assert_int_equal(redis_urls_read(text, &list, error, sizeof error), 0);
    assert_non_null(strstr(error, "too long"));
    *text = 0;
    for (int i = 0; i < REDIS_URLS_MAX; i++)
        strcat(text, i ? ",redis://h" : "redis://h");
    size_t count = redis_urls_read(text, &list, error, sizeof error);
    assert_int_equal(count, REDIS_URLS_MAX);
    redis_urls_free(list, count);
    strcat(text, ",redis://h");
    assert_int_equal(redis_urls_read(text, &list, error, sizeof error), 0);
    assert_non_null(strstr(error, "more than 64"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_read),
        cmocka_unit_test(several_are_read_in_their_order),
        cmocka_unit_test(passwords_are_wiped),
        cmocka_unit_test(what_is_no_url_is_refused),
        cmocka_unit_test(what_is_too_long_or_too_many_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
