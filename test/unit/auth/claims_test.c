#include "auth/claims.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/auth/tokens.h"

static const struct auth_keys keys;

static struct claims *claims_of(const char *json)
{
    struct claims *claims;
    assert_int_equal(claims_read(&keys, text_of(json), NOW, &claims), AUTH_OK);
    return claims;
}

static enum auth_result result_of(const char *json)
{
    struct claims *claims;
    enum auth_result result = claims_read(&keys, text_of(json), NOW, &claims);
    claims_drop(claims);
    return result;
}

static void without_a_hermes_claim_nothing_is_limited(void **state)
{
    (void)state;
    struct claims *c = claims_of("{}");
    assert_true(c->presence);
    assert_false(c->subscribe.limited);
    assert_false(c->publish.limited);
    assert_int_equal(c->user.len, 0);
    assert_int_equal(c->id.len, 0);
    assert_true(c->expires == CLAIMS_NEVER);
    claims_drop(c);
}

static void a_user_known_by_other_means_is_limited_in_nothing(void **state)
{
    (void)state;
    struct claims *c = claims_of_user(TEXT("Ada"));
    assert_true(text_equal(c->user, TEXT("Ada")));
    assert_int_equal(c->id.len, 0);
    assert_true(c->presence);
    assert_false(c->subscribe.limited);
    assert_false(c->publish.limited);
    assert_true(c->expires == CLAIMS_NEVER);
    claims_drop(c);
}

static void claims_are_copied_out(void **state)
{
    (void)state;
    struct claims *c = claims_of("{\"sub\":\"\\u00e4lice\",\"jti\":\"7\",\"exp\":1800000000.25,"
                                 "\"nbf\":12,\"hermes\":{\"subscribe\":[\"a:*\",\"b\",\"\"],"
                                 "\"publish\":[\"c:>\"],\"presence\":true}}");
    assert_true(text_equal(c->user, TEXT("\xc3\xa4lice")));
    assert_true(text_equal(c->id, TEXT("7")));
    assert_int_equal(c->expires, 1800000001);
    assert_int_equal(c->not_before, 12);
    assert_true(c->presence);
    assert_true(c->subscribe.limited);
    assert_int_equal(c->subscribe.count, 3);
    assert_true(text_equal(c->subscribe.at[0], TEXT("a:*")));
    assert_true(text_equal(c->subscribe.at[1], TEXT("b")));
    assert_int_equal(c->subscribe.at[2].len, 0);
    assert_true(c->publish.limited);
    assert_int_equal(c->publish.count, 1);
    assert_true(text_equal(c->publish.at[0], TEXT("c:>")));
    claims_hold(c);
    claims_drop(c);
    claims_drop(c);
}

static void a_hermes_claim_allows_presence_only_where_it_says_so(void **state)
{
    (void)state;
    struct claims *c = claims_of("{\"hermes\":{}}");
    assert_false(c->presence);
    assert_false(c->subscribe.limited);
    claims_drop(c);
    c = claims_of("{\"hermes\":{\"publish\":[],\"presence\":false}}");
    assert_false(c->presence);
    assert_false(c->subscribe.limited);
    assert_true(c->publish.limited);
    assert_int_equal(c->publish.count, 0);
    claims_drop(c);
}

static void a_user_has_at_most_256_bytes(void **state)
{
    char json[CLAIMS_USER_MAX + 20];
    (void)state;
    for (int len = CLAIMS_USER_MAX; len <= CLAIMS_USER_MAX + 1; len++) {
        snprintf(json, sizeof json, "{\"sub\":\"%0*d\"}", len, 0);
        assert_int_equal(result_of(json), len > CLAIMS_USER_MAX ? AUTH_BAD_CLAIMS : AUTH_OK);
    }
}

/* So many patterns to subscribe to, and so many to publish to, of so many bytes each. */
static enum auth_result result_of_lists(size_t subscribe, size_t publish, int bytes)
{
    struct buf json = {0};
    buf_append_string(&json, "{\"hermes\":{\"subscribe\":[");
    for (size_t i = 0; i < subscribe; i++)
        buf_appendf(&json, "%s\"%0*d\"", i ? "," : "", bytes, 0);
    buf_append_string(&json, "],\"publish\":[");
    for (size_t i = 0; i < publish; i++)
        buf_appendf(&json, "%s\"%0*d\"", i ? "," : "", bytes, 0);
    buf_append(&json, "]}}", 4);
    enum auth_result result = result_of(json.data);
    buf_fini(&json);
    return result;
}

static void there_is_an_end_to_patterns_and_their_bytes(void **state)
{
    (void)state;
    assert_int_equal(result_of_lists(1000, 0, 1), AUTH_OK);
    assert_int_equal(result_of_lists(600, 400, 1), AUTH_OK);
    assert_int_equal(result_of_lists(600, 401, 1), AUTH_BAD_CLAIMS);
    assert_int_equal(result_of_lists(0, 1001, 1), AUTH_BAD_CLAIMS);
    assert_int_equal(result_of_lists(32, 32, 1024), AUTH_OK);
    assert_int_equal(result_of_lists(32, 33, 1024), AUTH_BAD_CLAIMS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_hermes_claim_nothing_is_limited),
        cmocka_unit_test(a_user_known_by_other_means_is_limited_in_nothing),
        cmocka_unit_test(claims_are_copied_out),
        cmocka_unit_test(a_hermes_claim_allows_presence_only_where_it_says_so),
        cmocka_unit_test(a_user_has_at_most_256_bytes),
        cmocka_unit_test(there_is_an_end_to_patterns_and_their_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
