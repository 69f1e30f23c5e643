#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hermes/client.h"

static void parses(
    const char *url, const char *scheme, const char *host, unsigned port, const char *target)
{
    struct hermes_url u;
    if (!hermes_url_parse(&u, url))
        fail_msg("refused: %s", url);
    assert_string_equal(u.scheme, scheme);
    assert_string_equal(u.host, host);
    assert_int_equal(u.port, port);
    assert_string_equal(u.target, target);
}

static void a_url_is_scheme_host_port_and_target(void **state)
{
    (void)state;
    parses("ws://localhost", "ws", "localhost", 80, "");
    parses("ws://localhost:8080", "ws", "localhost", 8080, "");
    parses("ws://localhost:8080/", "ws", "localhost", 8080, "/");
    parses("WS://Example.ORG/a/b?c=d", "ws", "Example.ORG", 80, "/a/b?c=d");
    parses("ws://h?x", "ws", "h", 80, "?x");
    parses("wss://h", "wss", "h", 443, "");
    parses("http://h", "http", "h", 80, "");
    parses("https://h:1/x", "https", "h", 1, "/x");
    parses("ws://my_host-1.local:65535", "ws", "my_host-1.local", 65535, "");
    parses("ws://127.0.0.1:443", "ws", "127.0.0.1", 443, "");
}

static void an_ipv6_address_stands_in_brackets(void **state)
{
    (void)state;
    struct hermes_url u;
    parses("ws://[::1]:8080/x", "ws", "::1", 8080, "/x");
    parses("ws://[2001:db8::A]", "ws", "2001:db8::A", 80, "");
    assert_true(hermes_url_parse(&u, "ws://[::1]"));
    assert_true(u.ipv6);
    assert_true(hermes_url_parse(&u, "ws://127.0.0.1"));
    assert_false(u.ipv6);
}

static void what_is_no_url_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "ws", "ws:", "ws://", "ws:/h", "h", "localhost:8080",
        "ftp://h", "wsx://h", "ws://:80", "ws://h:", "ws://h:0", "ws://h:65536", "ws://h:8x",
        "ws://h:-1", "ws://h:99999999999999999999", "ws://user@h", "ws://user:pass@h/", "ws://h#f",
        "ws://h/a#f", "ws://h/a b", "ws://h/\r\nX: y", "ws://h/\x7f", "ws://h/\xc3\xa4",
        "ws://h\xc3\xa4", "ws://::1", "ws://[::1", "ws://[]", "ws://[::1]x", "ws://[zz]",
        "ws://h\\x", " ws://h", "ws://h "};
    struct hermes_url u;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (hermes_url_parse(&u, bad[i]))
            fail_msg("taken: %s", bad[i]);
}

static void a_host_has_a_longest_length(void **state)
{
    (void)state;
    struct hermes_url u;
    char url[300] = "ws://";
    memset(url + 5, 'h', 253);
    assert_true(hermes_url_parse(&u, url));
    assert_int_equal(strlen(u.host), 253);
    memset(url + 5, 'h', 254);
    assert_false(hermes_url_parse(&u, url));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_is_scheme_host_port_and_target),
        cmocka_unit_test(an_ipv6_address_stands_in_brackets),
        cmocka_unit_test(what_is_no_url_is_refused),
        cmocka_unit_test(a_host_has_a_longest_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
