#include "net/forwarded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static const char *const trusted[] = {"10.0.0.0/8", "10.0.0.0/8,192.0.2.0/24,::1"};

/* The client, by its text, of a request from 'peer' with these lines. */
static void expect(
    const char *list, const char *peer, const char *first, const char *second, const char *wanted)
{
    struct cidr_list networks;
    struct text wrong;
    struct endpoint from = {0};
    char out[ENDPOINT_TEXT_MAX];
    struct text lines[2] = {text_of(first ? first : ""), text_of(second ? second : "")};
    assert_int_equal(cidr_parse(&networks, list, &wrong), CIDR_OK);
    if (*peer)
        assert_true(endpoint_parse(&from, text_of(peer)));
    struct endpoint client =
        forwarded_client(&networks, from, lines, (first != NULL) + (second != NULL));
    assert_string_equal(endpoint_text(&client, out), wanted);
    cidr_fini(&networks);
}

/* Seen to fail without the cidr_has in front of take_last. */
static void only_a_trusted_peer_is_believed(void **state)
{
    (void)state;
    expect(trusted[0], "10.0.0.1:5", "203.0.113.9", NULL, "203.0.113.9");
    expect(trusted[0], "11.0.0.1:5", "203.0.113.9", NULL, "11.0.0.1:5");
    expect("", "10.0.0.1:5", "203.0.113.9", NULL, "10.0.0.1:5");
    expect("::/0", "", "203.0.113.9", NULL, "unknown");
}

/* Seen to fail when the list is read from its left end. */
static void what_the_client_made_up_further_left_does_not_count(void **state)
{
    (void)state;
    expect(trusted[0], "10.0.0.1", "1.1.1.1, 203.0.113.9", NULL, "203.0.113.9");
    expect(trusted[0], "10.0.0.1", "1.1.1.1, 203.0.113.9, 10.9.9.9", NULL, "203.0.113.9");
    expect(trusted[0], "10.0.0.1", "10.1.1.1, 203.0.113.9, 10.9.9.9", NULL, "203.0.113.9");
    expect(trusted[1], "::1", "1.1.1.1,203.0.113.9,192.0.2.3,10.9.9.9", NULL, "203.0.113.9");
    expect(trusted[0], "10.0.0.1", "garbage, <script>, 203.0.113.9", NULL, "203.0.113.9");
}

static void several_lines_are_one_list(void **state)
{
    (void)state;
    expect(trusted[0], "10.0.0.1", "203.0.113.9", "10.2.2.2", "203.0.113.9");
    expect(trusted[0], "10.0.0.1", "203.0.113.9", "198.51.100.1", "198.51.100.1");
    expect(trusted[0], "10.0.0.1", "203.0.113.9", "", "203.0.113.9");
}

static void when_all_are_trusted_it_is_the_first(void **state)
{
    (void)state;
    expect(trusted[0], "10.0.0.1:5", "10.3.3.3, 10.2.2.2", NULL, "10.3.3.3");
    expect(trusted[0], "10.0.0.1:5", "10.3.3.3", "10.2.2.2", "10.3.3.3");
}

static void garbage_where_a_proxy_should_have_written_leaves_the_peer(void **state)
{
    (void)state;
    expect(trusted[0], "10.0.0.1:5", "203.0.113.9, unknown", NULL, "10.0.0.1:5");
    expect(trusted[0], "10.0.0.1:5", "203.0.113.9, x, 10.2.2.2", NULL, "10.0.0.1:5");
    expect(trusted[0], "10.0.0.1:5", "1.2.3.4.5", NULL, "10.0.0.1:5");
    expect(trusted[0], "10.0.0.1:5", "1.2.3.4 5.6.7.8", NULL, "10.0.0.1:5");
    expect(trusted[0], "10.0.0.1:5", "for=1.2.3.4", NULL, "10.0.0.1:5");
    expect(trusted[0], "10.0.0.1:5", "\"1.2.3.4\"", NULL, "10.0.0.1:5");
    expect(trusted[0], "10.0.0.1:5", "::", NULL, "10.0.0.1:5");
}

static void nothing_leaves_the_peer(void **state)
{
    (void)state;
    expect(trusted[0], "10.0.0.1:5", NULL, NULL, "10.0.0.1:5");
    expect(trusted[0], "10.0.0.1:5", "", "", "10.0.0.1:5");
    expect(trusted[0], "10.0.0.1:5", ", ,\t,", NULL, "10.0.0.1:5");
}

static void space_empty_elements_and_ports_are_borne(void **state)
{
    (void)state;
    expect(trusted[0], "10.0.0.1:5", " ,\t203.0.113.9\t, ,", NULL, "203.0.113.9");
    expect(trusted[0], "10.0.0.1:5", "203.0.113.9:88", NULL, "203.0.113.9:88");
    expect(trusted[0], "10.0.0.1:5", "[2001:db8::9]:88,10.2.2.2:7", NULL, "[2001:db8::9]:88");
    expect(trusted[0], "10.0.0.1:5", "2001:db8::9", NULL, "2001:db8::9");
    expect(trusted[0], "::ffff:10.0.0.1", "::ffff:203.0.113.9", NULL, "203.0.113.9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_trusted_peer_is_believed),
        cmocka_unit_test(what_the_client_made_up_further_left_does_not_count),
        cmocka_unit_test(several_lines_are_one_list),
        cmocka_unit_test(when_all_are_trusted_it_is_the_first),
        cmocka_unit_test(garbage_where_a_proxy_should_have_written_leaves_the_peer),
        cmocka_unit_test(nothing_leaves_the_peer),
        cmocka_unit_test(space_empty_elements_and_ports_are_borne),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
