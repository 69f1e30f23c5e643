/* Which key a token is checked with, and what is remembered. */
#include "auth/verifier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/auth/pairs.h"

enum { PAIRS = 6 };

static struct pair pairs[PAIRS];

static int make_pairs(void **state)
{
    static const mbedtls_ecp_group_id curves[PAIRS] = {MBEDTLS_ECP_DP_SECP256R1,
        MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_SECP256R1,
        MBEDTLS_ECP_DP_SECP384R1, MBEDTLS_ECP_DP_SECP521R1};
    (void)state;
    for (size_t i = 0; i < PAIRS; i++)
        pair_make(&pairs[i], curves[i]);
    return 0;
}

/* With the pairs' public keys, each named as `names` says (NULL: nameless), and perhaps a secret.
 */
static struct verifier *verifier_with(
    const char *secret, size_t count, const size_t *which, const char *const *names)
{
    struct buf pem = {0};
    for (size_t i = 0; i < count; i++) {
        if (names && names[i])
            buf_appendf(&pem, "kid: %s\n", names[i]);
        buf_append_string(&pem, pairs[which[i]].public);
    }
    struct file file = file_make(pem.data, pem.len);
    struct verifier *v =
        verifier_of(&(struct auth_settings){.secret = secret, .public_key_file = file.path});
    close(file.fd);
    buf_fini(&pem);
    return v;
}

static enum auth_result check_at(struct verifier *v, size_t pair, const char *name, uint64_t now)
{
    struct buf token = {0};
    struct claims *claims;
    pair_sign(&pairs[pair], name, &token);
    enum auth_result result = verifier_check(v, buf_text(&token), now, &claims);
    if (result == AUTH_OK)
        assert_true(text_equal(claims->user, TEXT("alice")));
    claims_drop(claims);
    buf_fini(&token);
    return result;
}

static enum auth_result check(struct verifier *v, size_t pair, const char *name)
{
    return check_at(v, pair, name, NOW);
}

static void each_curve_has_its_algorithm(void **state)
{
    (void)state;
    for (size_t i = 3; i < PAIRS; i++) {
        struct verifier *v = verifier_with(NULL, 1, &i, NULL);
        for (size_t k = 3; k < PAIRS; k++)
            assert_int_equal(check(v, k, NULL), k == i ? AUTH_OK : AUTH_NO_KEY);
        assert_int_equal(check(v, 0, NULL), i == 3 ? AUTH_BAD_SIGNATURE : AUTH_NO_KEY);
        verifier_free(v);
    }
}

static void a_name_chooses_the_key(void **state)
{
    static const size_t which[] = {0, 1, 4};
    static const char *const names[] = {"old", "new", "big"};
    (void)state;
    struct verifier *v = verifier_with(NULL, 3, which, names);
    assert_int_equal(check(v, 0, "old"), AUTH_OK);
    assert_int_equal(check(v, 1, "new"), AUTH_OK);
    assert_int_equal(check(v, 1, "old"), AUTH_BAD_SIGNATURE);
    assert_int_equal(check(v, 0, "big"), AUTH_NO_KEY);
    assert_int_equal(check(v, 0, "other"), AUTH_NO_KEY);
    assert_int_equal(check(v, 0, "ol"), AUTH_NO_KEY);
    assert_int_equal(check(v, 0, ""), AUTH_NO_KEY);
    verifier_free(v);
}

static void a_token_without_a_name_is_checked_with_the_only_key_that_fits(void **state)
{
    static const size_t which[] = {0, 1, 4};
    static const char *const names[] = {"old", "new", "big"};
    (void)state;
    struct verifier *v = verifier_with(NULL, 3, which, names);
    assert_int_equal(check(v, 4, NULL), AUTH_OK);
    assert_int_equal(check(v, 0, NULL), AUTH_NO_KEY);
    verifier_free(v);
}

static void nameless_keys_are_tried_one_by_one(void **state)
{
    static const size_t which[] = {0, 4, 1, 2};
    static const char *const names[] = {NULL, NULL, NULL, "named"};
    (void)state;
    struct verifier *v = verifier_with(NULL, 4, which, names);
    assert_int_equal(check(v, 0, NULL), AUTH_OK);
    assert_int_equal(check(v, 1, NULL), AUTH_OK);
    assert_int_equal(check(v, 1, "unknown"), AUTH_OK);
    assert_int_equal(check(v, 2, "named"), AUTH_OK);
    assert_int_equal(check(v, 1, "named"), AUTH_BAD_SIGNATURE);
    assert_int_equal(check(v, 2, NULL), AUTH_BAD_SIGNATURE);
    assert_int_equal(check(v, 3, NULL), AUTH_BAD_SIGNATURE);
    verifier_free(v);
}

static void a_secret_and_public_keys_may_both_be_there(void **state)
{
    static const size_t which[] = {0};
    struct buf token = {0};
    struct claims *claims;
    (void)state;
    struct verifier *v = verifier_with(SECRET, 1, which, NULL);
    assert_int_equal(check(v, 0, NULL), AUTH_OK);
    token_begin(&token, "{\"alg\":\"HS256\"}", "{}");
    token_sign(&token, MBEDTLS_MD_SHA256, SECRET);
    assert_int_equal(verifier_check(v, buf_text(&token), NOW, &claims), AUTH_OK);
    claims_drop(claims);
    token_begin(&token, "{\"alg\":\"HS256\"}", "{}");
    token_sign(&token, MBEDTLS_MD_SHA256, pairs[0].public);
    assert_int_equal(verifier_check(v, buf_text(&token), NOW, &claims), AUTH_BAD_SIGNATURE);
    buf_fini(&token);
    verifier_free(v);
}

/* --- what is remembered ----------------------------------------------------------------------- */

static void a_token_that_held_is_given_the_same_claims_until_it_expires(void **state)
{
    static const size_t which[] = {0};
    struct buf token = {0};
    struct claims *first;
    struct claims *again;
    (void)state;
    struct verifier *v = verifier_with(NULL, 1, which, NULL);
    pair_sign(&pairs[0], NULL, &token);
    assert_int_equal(verifier_check(v, buf_text(&token), NOW, &first), AUTH_OK);
    assert_int_equal(verifier_check(v, buf_text(&token), NOW + 59, &again), AUTH_OK);
    assert_ptr_equal(first, again);
    claims_drop(again);
    assert_int_equal(verifier_check(v, buf_text(&token), NOW + 60, &again), AUTH_EXPIRED);
    assert_null(again);
    assert_int_equal(verifier_check(v, buf_text(&token), NOW, &again), AUTH_OK);
    assert_ptr_not_equal(first, again);
    claims_drop(again);
    token.data[token.len - 2] = token.data[token.len - 2] == 'A' ? 'B' : 'A';
    assert_int_equal(verifier_check(v, buf_text(&token), NOW, &again), AUTH_BAD_SIGNATURE);
    verifier_free(v);
    assert_true(text_equal(first->user, TEXT("alice")));
    claims_drop(first);
    buf_fini(&token);
}

static void what_did_not_hold_is_not_remembered(void **state)
{
    static const size_t which[] = {0};
    struct buf token = {0};
    struct claims *claims;
    (void)state;
    struct verifier *v = verifier_with(NULL, 1, which, NULL);
    pair_sign(&pairs[0], NULL, &token);
    assert_int_equal(verifier_check(v, buf_text(&token), NOW + 60, &claims), AUTH_EXPIRED);
    assert_int_equal(verifier_check(v, buf_text(&token), NOW, &claims), AUTH_OK);
    claims_drop(claims);
    verifier_free(v);
    buf_fini(&token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_curve_has_its_algorithm),
        cmocka_unit_test(a_name_chooses_the_key),
        cmocka_unit_test(a_token_without_a_name_is_checked_with_the_only_key_that_fits),
        cmocka_unit_test(nameless_keys_are_tried_one_by_one),
        cmocka_unit_test(a_secret_and_public_keys_may_both_be_there),
        cmocka_unit_test(a_token_that_held_is_given_the_same_claims_until_it_expires),
        cmocka_unit_test(what_did_not_hold_is_not_remembered),
    };
    return cmocka_run_group_tests(tests, make_pairs, NULL);
}
