#include "net/cidr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static bool has(const char *string, const char *address)
{
    struct cidr_list list;
    struct text wrong;
    struct ip ip;
    assert_int_equal(cidr_parse(&list, string, &wrong), CIDR_OK);
    assert_true(ip_parse(&ip, text_of(address)));
    bool yes = cidr_has(&list, &ip);
    cidr_fini(&list);
    return yes;
}

/* Seen to fail with the comparison of the last byte left out. */
static void an_address_is_in_the_networks_that_hold_it(void **state)
{
    (void)state;
    static const char list[] = " 10.0.0.0/8, ::1 ,192.168.1.5,\t172.16.0.0/12,2001:db8:8000::/33";
    assert_true(has(list, "10.0.0.0"));
    assert_true(has(list, "10.255.255.255"));
    assert_false(has(list, "11.0.0.0"));
    assert_false(has(list, "9.255.255.255"));
    assert_true(has(list, "::1"));
    assert_false(has(list, "::2"));
    assert_true(has(list, "192.168.1.5"));
    assert_false(has(list, "192.168.1.4"));
    assert_true(has(list, "172.31.255.255"));
    assert_false(has(list, "172.32.0.0"));
    assert_false(has(list, "172.15.255.255"));
    assert_true(has(list, "2001:db8:8000::5"));
    assert_true(has(list, "2001:db8:ffff::"));
    assert_false(has(list, "2001:db8:7fff::"));
    assert_false(has("", "10.0.0.1"));
    assert_false(has("  ", "10.0.0.1"));
}

static void ipv4_and_its_mapped_form_are_one(void **state)
{
    (void)state;
    assert_true(has("10.0.0.0/8", "::ffff:10.1.1.1"));
    assert_true(has("::ffff:10.0.0.0/104", "10.1.1.1"));
    assert_true(has("::ffff:10.1.1.1", "10.1.1.1"));
    assert_false(has("::ffff:10.0.0.0/104", "11.1.1.1"));
}

/* Seen to fail without the look at the bits in cidr_has. */
static void all_of_one_family_is_not_all_of_the_other(void **state)
{
    (void)state;
    assert_true(has("0.0.0.0/0", "255.1.2.3"));
    assert_false(has("0.0.0.0/0", "2001::1"));
    assert_true(has("::/0", "2001::1"));
    assert_false(has("::/0", "255.1.2.3"));
    assert_true(has("::/0,0.0.0.0/0", "255.1.2.3"));
}

static void nobody_known_is_in_no_list(void **state)
{
    (void)state;
    struct cidr_list list;
    struct text wrong;
    struct ip unknown = {{0}};
    assert_int_equal(cidr_parse(&list, "::/0,0.0.0.0/0", &wrong), CIDR_OK);
    assert_false(cidr_has(&list, &unknown));
    cidr_fini(&list);
}

static void a_wrong_entry_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        const char *wrong;
    } cases[] = {
        {",", ""},
        {"10.0.0.1,", ""},
        {"10.0.0.1,,::1", ""},
        {"10.0.0.1, example.com ,::1", "example.com"},
        {"10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"},
        {"10.0.0.0/33", "10.0.0.0/33"},
        {"::/129", "::/129"},
        {"10.0.0.0/", "10.0.0.0/"},
        {"10.0.0.0/08", "10.0.0.0/08"},
        {"10.0.0.0/+8", "10.0.0.0/+8"},
        {"10.0.0.0/8/8", "10.0.0.0/8/8"},
        {"10.0.0.0/255.0.0.0", "10.0.0.0/255.0.0.0"},
        {"/8", "/8"},
        {"10.1.2.3/8", "10.1.2.3/8"},
        {"10.0.0.1/31", "10.0.0.1/31"},
        {"::1/127", "::1/127"},
        {"::", "::"},
        {"10.0.0.1:80", "10.0.0.1:80"},
        {"[::1]", "[::1]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cidr_list list;
        struct text wrong = {NULL, 0};
        assert_int_equal(cidr_parse(&list, cases[i].list, &wrong), CIDR_INVALID);
        assert_true(text_equal(wrong, text_of(cases[i].wrong)));
        assert_null(list.entries);
        assert_int_equal(list.count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_in_the_networks_that_hold_it),
        cmocka_unit_test(ipv4_and_its_mapped_form_are_one),
        cmocka_unit_test(all_of_one_family_is_not_all_of_the_other),
        cmocka_unit_test(nobody_known_is_in_no_list),
        cmocka_unit_test(a_wrong_entry_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
