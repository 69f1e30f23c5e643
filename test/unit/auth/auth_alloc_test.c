/* Keys and tokens without memory: nothing holds that should not, and all is given back. mbedTLS has
 * the memory of the test too, jansson as well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>

#include "unit/auth/pairs.h"

#include "support/failing_alloc.h"

static struct pair pair;
static struct file public_file;
static struct file deny_file;

static const struct auth_settings *settings(void)
{
    static struct auth_settings s;
    s = (struct auth_settings){.secret = SECRET,
        .public_key_file = public_file.path,
        .deny_file = deny_file.path,
        .audience = "chat",
        .issuer = "joe"};
    return &s;
}

static void keys_that_cannot_be_loaded_are_told_of(void **state)
{
    unsigned told = 0;
    unsigned others = 0;
    (void)state;
    for (unsigned n = 1;; n++) {
        char error[300] = "";
        struct auth_keys *keys;
        alloc_fail(n);
        enum auth_load code = auth_keys_load(settings(), &keys, error, sizeof error);
        if (!alloc_failed()) {
            assert_int_equal(code, AUTH_LOADED);
            auth_keys_drop(keys);
            break;
        }
        if (code == AUTH_LOADED) { /* the library did without */
            auth_keys_drop(keys);
            continue;
        }
        assert_null(keys);
        assert_true(strlen(error) > 0);
        told += code == AUTH_LOAD_NO_MEMORY;
        others += code != AUTH_LOAD_NO_MEMORY;
    }
    assert_true(told > 10);
    assert_true(others < told); /* jansson says of some that the text is wrong */
}

static void no_verifier_is_half_made(void **state)
{
    struct auth_keys *keys;
    char error[300];
    unsigned failures = 0;
    (void)state;
    assert_int_equal(auth_keys_load(settings(), &keys, error, sizeof error), AUTH_LOADED);
    for (unsigned n = 1;; n++) {
        alloc_fail(n);
        struct verifier *v = verifier_new(keys);
        bool failed = alloc_failed();
        verifier_free(v);
        failures += v == NULL;
        if (!failed)
            break;
    }
    assert_int_equal(failures, 2);
    assert_int_equal(keys->references, 1);
    auth_keys_drop(keys);
}

/* Checks it with each allocation failing, and at the end without. */
static void check_each(struct text token, enum auth_result wanted)
{
    unsigned told = 0;
    unsigned others = 0;
    for (unsigned n = 1;; n++) {
        struct claims *claims;
        struct verifier *v = verifier_of(
            &(struct auth_settings){.secret = SECRET, .public_key_file = public_file.path});
        alloc_fail(n);
        enum auth_result result = verifier_check(v, token, NOW, &claims);
        bool failed = alloc_failed();
        assert_true((result == AUTH_OK) == (claims != NULL));
        if (failed && result != wanted) {
            assert_int_not_equal(result, AUTH_OK);
            told += result == AUTH_NO_MEMORY;
            others += result == AUTH_MALFORMED; /* jansson, again */
            assert_true(result == AUTH_NO_MEMORY || result == AUTH_MALFORMED);
        }
        claims_drop(claims);
        verifier_free(v);
        if (!failed) {
            assert_int_equal(result, wanted);
            break;
        }
    }
    assert_true(told > 5);
    assert_true(others < told);
}

static void no_token_holds_or_fails_for_another_reason(void **state)
{
    struct buf token = {0};
    (void)state;
    token_good(&token, "{\"sub\":\"a\",\"hermes\":{\"subscribe\":[\"a:*\"]}}");
    check_each(buf_text(&token), AUTH_OK);
    pair_sign(&pair, NULL, &token);
    check_each(buf_text(&token), AUTH_OK);
    token.data[token.len - 2] = token.data[token.len - 2] == 'A' ? 'B' : 'A';
    check_each(buf_text(&token), AUTH_BAD_SIGNATURE);
    buf_fini(&token);
}

static void a_token_is_made_or_not(void **state)
{
    const char *patterns[] = {"a:*", NULL};
    struct token_wish wish = {.user = "a",
        .subscribe = patterns,
        .publish = patterns,
        .presence = true,
        .issued = NOW,
        .expires = NOW + 60};
    struct token_key key;
    char error[200];
    struct file file = file_of(pair.private);
    (void)state;
    unsigned failures = 0;
    for (unsigned n = 1;; n++) {
        struct buf token = {0};
        alloc_fail(n);
        enum auth_load code =
            token_key_read_private(&key, &(struct auth_source){file.path, error, sizeof error});
        const char *fault = code == AUTH_LOADED ? token_make(&key, &wish, &token) : error;
        bool failed = alloc_failed();
        failures += fault != NULL;
        if (!fault) {
            struct claims *claims;
            struct verifier *v =
                verifier_of(&(struct auth_settings){.public_key_file = public_file.path});
            assert_int_equal(verifier_check(v, buf_text(&token), NOW, &claims), AUTH_OK);
            assert_int_equal(claims->publish.count, 1);
            claims_drop(claims);
            verifier_free(v);
        }
        token_key_fini(&key);
        buf_fini(&token);
        if (!failed)
            break;
    }
    assert_true(failures > 10);
    close(file.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_that_cannot_be_loaded_are_told_of),
        cmocka_unit_test(no_verifier_is_half_made),
        cmocka_unit_test(no_token_holds_or_fails_for_another_reason),
        cmocka_unit_test(a_token_is_made_or_not),
    };
    json_object_seed(1);
    json_set_alloc_funcs(malloc, free); /* the wrapped one */
    pair_make(&pair, MBEDTLS_ECP_DP_SECP256R1);
    public_file = file_of(pair.public);
    deny_file = file_of("{\"jti\":[\"a\"],\"sub\":[\"b\"]}");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
