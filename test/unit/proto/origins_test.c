#include "proto/origins.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static bool allows(const char *list, const char *origin)
{
    struct origins o;
    struct text wrong;
    assert_int_equal(origins_parse(&o, list, &wrong), ORIGINS_OK);
    bool yes = origins_allow(&o, origin ? text_of(origin) : (struct text){NULL, 0});
    origins_fini(&o);
    return yes;
}

static void an_origin_is_allowed_as_it_is_written(void **state)
{
    (void)state;
    static const char list[] = "https://example.com, http://localhost:3000 ,https://[::1]:8443,"
                               "chrome-extension://abcdefgh,https://xn--bcher-kva.example";
    assert_true(allows(list, "https://example.com"));
    assert_true(allows(list, "http://localhost:3000"));
    assert_true(allows(list, "https://[::1]:8443"));
    assert_true(allows(list, "chrome-extension://abcdefgh"));
    assert_true(allows(list, "https://xn--bcher-kva.example"));
    assert_false(allows(list, "http://example.com"));
    assert_false(allows(list, "https://example.com:8443"));
    assert_false(allows(list, "https://www.example.com"));
    assert_false(allows(list, "https://example.com.evil.example"));
    assert_false(allows(list, "https://evilexample.com"));
    assert_false(allows(list, "https://example.co"));
    assert_false(allows(list, "https://example.com."));
    assert_false(allows(list, "http://localhost"));
    assert_false(allows(list, "https://[::1]"));
    assert_false(allows(list, "null"));
}

/* Seen to fail without the look at the ports in matches(). */
static void case_and_default_ports_do_not_matter(void **state)
{
    (void)state;
    assert_true(allows("HTTPS://Example.COM", "https://example.com"));
    assert_true(allows("https://example.com", "hTTps://EXAMPLE.com"));
    assert_true(allows("https://example.com:443", "https://example.com"));
    assert_true(allows("https://example.com", "https://example.com:443"));
    assert_true(allows("http://example.com:80", "http://example.com"));
    assert_false(allows("https://example.com:80", "https://example.com"));
    assert_false(allows("http://example.com", "http://example.com:443"));
    assert_false(allows("app://example.com", "app://example.com:80"));
}

/* Seen to fail when the dot is not part of what is compared. */
static void a_wildcard_is_what_lies_below_a_host_but_not_that_host(void **state)
{
    (void)state;
    static const char list[] = "https://*.example.com,http://*.test:8080";
    assert_true(allows(list, "https://a.example.com"));
    assert_true(allows(list, "https://a.b.example.com:443"));
    assert_true(allows(list, "HTTPS://A.EXAMPLE.COM"));
    assert_true(allows(list, "http://x.test:8080"));
    assert_false(allows(list, "https://example.com"));
    assert_false(allows(list, "https://.example.com"));
    assert_false(allows(list, "https://evilexample.com"));
    assert_false(allows(list, "https://a.example.com.evil"));
    assert_false(allows(list, "https://a.example.com:444"));
    assert_false(allows(list, "http://a.example.com"));
    assert_false(allows(list, "http://x.test"));
    assert_false(allows(list, "https://evil/.example.com"));
    assert_false(allows(list, "https://evil#.example.com"));
    assert_false(allows(list, "https://evil@a.example.com"));
    assert_false(allows(list, "https://evil:1.example.com"));
    assert_false(allows(list, "https://*.example.com"));
}

static void a_star_is_all_and_null_is_named_by_itself(void **state)
{
    (void)state;
    assert_true(allows("*", "https://anything.example"));
    assert_true(allows("*", "null"));
    assert_true(allows("*", "what even is this"));
    assert_true(allows("*", ""));
    assert_true(allows("https://example.com,*", "https://anything.example"));
    assert_true(allows("null", "null"));
    assert_false(allows("null", "https://null"));
    assert_false(allows("null", "NULL"));
    assert_false(allows("https://example.com", "null"));
}

static void a_request_without_an_origin_is_not_from_a_browser(void **state)
{
    (void)state;
    assert_true(allows("https://example.com", NULL));
    assert_true(allows("null", NULL));
    assert_false(allows("https://example.com", ""));
}

static void what_is_no_origin_is_not_allowed(void **state)
{
    (void)state;
    static const char *const wrong[] = {"https://", "://example.com", "example.com", "https:/a",
        "https://example.com/", "https://example.com/path",
        "https://example.com:", "https://example.com:0", "https://example.com:0443",
        "https://example.com:65979", "https://example.com:443:443", "https://user@example.com",
        "https://example.com ", " https://example.com", "https://example.com https://example.com",
        "https://example.com,https://example.com", "https://example.com?", "https://exam ple.com"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (allows("https://example.com,https://*.com", wrong[i]))
            fail_msg("%s was allowed", wrong[i]);
}

static void a_wrong_entry_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        const char *wrong;
    } cases[] = {
        {"", ""},
        {" ", ""},
        {"https://a.example,", ""},
        {"https://a.example, example.com", "example.com"},
        {"https://*", "https://*"},
        {"https://*.", "https://*."},
        {"https://*.*.example", "https://*.*.example"},
        {"https://a.*.example", "https://a.*.example"},
        {"https://*example.com", "https://*example.com"},
        {"*://example.com", "*://example.com"},
        {"*.example.com", "*.example.com"},
        {"https://example.com/", "https://example.com/"},
        {"https://example.com:", "https://example.com:"},
        {"https://example.com:70000", "https://example.com:70000"},
        {"https://[::1", "https://[::1"},
        {"https://.example.com", "https://.example.com"},
        {"NULL", "NULL"},
        {"https://a.example https://b.example", "https://a.example https://b.example"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct origins o;
        struct text wrong = {NULL, 9};
        if (origins_parse(&o, cases[i].list, &wrong) != ORIGINS_INVALID)
            fail_msg("%s was taken", cases[i].list);
        assert_true(text_equal(wrong, text_of(cases[i].wrong)));
        assert_true(wrong.at >= cases[i].list &&
                    wrong.at + wrong.len <= cases[i].list + strlen(cases[i].list));
        assert_null(o.entries);
        assert_null(o.string);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_origin_is_allowed_as_it_is_written),
        cmocka_unit_test(case_and_default_ports_do_not_matter),
        cmocka_unit_test(a_wildcard_is_what_lies_below_a_host_but_not_that_host),
        cmocka_unit_test(a_star_is_all_and_null_is_named_by_itself),
        cmocka_unit_test(a_request_without_an_origin_is_not_from_a_browser),
        cmocka_unit_test(what_is_no_origin_is_not_allowed),
        cmocka_unit_test(a_wrong_entry_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
