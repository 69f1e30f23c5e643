#include "net/endpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static void expect(const char *given, const char *wanted)
{
    struct endpoint e = {0};
    char out[ENDPOINT_TEXT_MAX];
    assert_true(endpoint_parse(&e, text_of(given)));
    assert_string_equal(endpoint_text(&e, out), wanted);
}

static void an_address_is_read_with_and_without_a_port(void **state)
{
    (void)state;
    expect("1.2.3.4", "1.2.3.4");
    expect("1.2.3.4:80", "1.2.3.4:80");
    expect("255.255.255.255:65535", "255.255.255.255:65535");
    expect("::1", "::1");
    expect("[::1]", "::1");
    expect("[2001:DB8::5]:443", "[2001:db8::5]:443");
    expect("2001:db8::1:443", "2001:db8::1:443"); /* all of it is the address */
}

/* Seen to fail without the mapped prefix in ip_parse_family. */
static void an_ipv4_address_is_the_same_as_its_mapped_form(void **state)
{
    (void)state;
    expect("::ffff:1.2.3.4", "1.2.3.4");
    expect("[::ffff:102:304]:5", "1.2.3.4:5");
    struct ip a, b;
    assert_true(ip_parse(&a, TEXT("1.2.3.4")));
    assert_true(ip_parse(&b, TEXT("::ffff:1.2.3.4")));
    assert_memory_equal(&a, &b, sizeof a);
    assert_true(ip_is_v4(&b));
    assert_true(ip_parse(&b, TEXT("::1.2.3.4")));
    assert_false(ip_is_v4(&b));
    assert_false(ip_parse_family(&a, TEXT("::ffff:1.2.3.4"), AF_INET));
    assert_false(ip_parse_family(&a, TEXT("1.2.3.4"), AF_INET6));
}

static void what_is_no_address_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", " ", "unknown", "_hidden", "1.2.3", "1.2.3.4.5",
        "1.2.3.256", "01.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:080", "1.2.3.4:8a",
        "1.2.3.4:123456", " 1.2.3.4", "1.2.3.4 ", "[1.2.3.4]", "[1.2.3.4]:80", "[::1",
        "[::1]:", "[::1]80", "[::1]:x", "[]", "[", "]", "::1]", ":::", "fe80::1%eth0",
        "12345::", "example.com", "example.com:80", ":80",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999",
        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct endpoint e;
        if (endpoint_parse(&e, text_of(wrong[i])))
            fail_msg("%s was taken for an address", wrong[i]);
    }
    struct ip ip;
    assert_false(ip_parse(&ip, (struct text){"1.2.3.4\0", 8}));
}

static void a_socket_address_of_either_family_is_taken_and_none_other(void **state)
{
    (void)state;
    char out[ENDPOINT_TEXT_MAX];
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(80)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
    struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/somewhere"};
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v6.sin6_addr = in6addr_loopback;
    struct endpoint e = endpoint_of((struct sockaddr *)&v4);
    assert_string_equal(endpoint_text(&e, out), "127.0.0.1:80");
    e = endpoint_of((struct sockaddr *)&v6);
    assert_string_equal(endpoint_text(&e, out), "[::1]:443");
    e = endpoint_of((struct sockaddr *)&local);
    assert_false(ip_is_known(&e.ip));
    assert_string_equal(endpoint_text(&e, out), "unknown");
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    e = endpoint_of_peer(fds[0]);
    assert_false(ip_is_known(&e.ip));
    close(fds[0]);
    e = endpoint_of_peer(fds[0]);
    assert_false(ip_is_known(&e.ip));
    close(fds[1]);
}

static void the_longest_text_fits(void **state)
{
    (void)state;
    char out[ENDPOINT_TEXT_MAX];
    struct endpoint e = {.port = 65535};
    memset(e.ip.bytes, 0xfe, sizeof e.ip.bytes);
    assert_string_equal(endpoint_text(&e, out), "[fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe]:65535");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_read_with_and_without_a_port),
        cmocka_unit_test(an_ipv4_address_is_the_same_as_its_mapped_form),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(a_socket_address_of_either_family_is_taken_and_none_other),
        cmocka_unit_test(the_longest_text_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
