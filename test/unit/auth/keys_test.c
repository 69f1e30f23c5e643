/* What can be wrong with the files of keys, and how it is told. */
#include "auth/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/auth/pairs.h"

#define P256_X "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\""
#define P256_Y "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""
#define P256_KEY "\"kty\":\"EC\",\"crv\":\"P-256\"," P256_X "," P256_Y

static char error[300];

static enum auth_load load(const struct auth_settings *settings)
{
    struct auth_keys *keys;
    error[0] = '\0';
    enum auth_load code = auth_keys_load(settings, &keys, error, sizeof error);
    if (code != AUTH_LOADED) {
        assert_null(keys);
        assert_true(strlen(error) > 0);
        assert_null(strchr(error, '\n'));
    }
    auth_keys_drop(keys);
    return code;
}

static enum auth_load load_public(const char *text)
{
    struct file file = file_of(text);
    enum auth_load code = load(&(struct auth_settings){.public_key_file = file.path});
    close(file.fd);
    if (code != AUTH_LOADED)
        assert_memory_equal(error, file.path, strlen(file.path));
    return code;
}

static void assert_told(const char *text, const char *what)
{
    assert_int_equal(load_public(text), AUTH_UNUSABLE);
    if (!strstr(error, what))
        fail_msg("'%s' does not say '%s'", error, what);
}

static void nothing_set_is_no_keys_and_no_fault(void **state)
{
    struct auth_keys *keys = (struct auth_keys *)1;
    (void)state;
    struct auth_settings settings = {.secret = "", .public_key_file = "", .leeway = 5};
    assert_int_equal(auth_keys_load(&settings, &keys, error, sizeof error), AUTH_LOADED);
    assert_null(keys);
}

static void conditions_without_a_key_are_refused(void **state)
{
    struct file deny = file_of("{}");
    (void)state;
    assert_int_equal(load(&(struct auth_settings){.audience = "a"}), AUTH_UNUSABLE);
    assert_int_equal(load(&(struct auth_settings){.issuer = "a"}), AUTH_UNUSABLE);
    assert_int_equal(load(&(struct auth_settings){.deny_file = deny.path}), AUTH_UNUSABLE);
    assert_int_equal(
        load(&(struct auth_settings){.deny_file = deny.path, .secret = SECRET}), AUTH_LOADED);
    close(deny.fd);
}

static void a_secret_is_given_once(void **state)
{
    struct file file = file_of(SECRET);
    (void)state;
    assert_int_equal(
        load(&(struct auth_settings){
            .secret = SECRET, .secret_name = "WS_JWT_SECRET", .secret_file = file.path}),
        AUTH_UNUSABLE);
    assert_memory_equal(error, "WS_JWT_SECRET: ", 15);
    close(file.fd);
}

static size_t secret_len(const char *bytes, size_t len)
{
    struct file file = file_make(bytes, len);
    struct secret secret;
    struct auth_source source = {file.path, error, sizeof error};
    enum auth_load code = auth_secret_read(&secret, &source);
    size_t got = secret.len;
    if (code == AUTH_LOADED)
        assert_memory_equal(secret.at, bytes, got);
    secret_fini(&secret);
    close(file.fd);
    return code == AUTH_LOADED ? got : 0;
}

static void one_line_end_is_none_of_a_secret(void **state)
{
    (void)state;
    assert_int_equal(secret_len("abc", 3), 3);
    assert_int_equal(secret_len("abc\n", 4), 3);
    assert_int_equal(secret_len("abc\r\n", 5), 3);
    assert_int_equal(secret_len("abc\n\n", 5), 4);
    assert_int_equal(secret_len(" abc ", 5), 5);
    assert_int_equal(secret_len("a\0c", 3), 3);
    assert_int_equal(secret_len("\n", 1), 0);
    assert_int_equal(secret_len("", 0), 0);
}

static void a_public_key_is_not_taken_for_a_secret(void **state)
{
    struct pair pair;
    (void)state;
    pair_make(&pair, MBEDTLS_ECP_DP_SECP256R1);
    assert_int_equal(secret_len(pair.public, strlen(pair.public)), 0);
    assert_int_equal(load(&(struct auth_settings){.secret = pair.public}), AUTH_UNUSABLE);
    assert_null(strstr(error, "BEGIN"));
}

static void a_secret_may_be_as_long_as_4096_bytes(void **state)
{
    static char bytes[AUTH_SECRET_MAX + 4];
    (void)state;
    memset(bytes, 'x', AUTH_SECRET_MAX + 3);
    assert_int_equal(secret_len(bytes, AUTH_SECRET_MAX), AUTH_SECRET_MAX);
    assert_int_equal(secret_len(bytes, AUTH_SECRET_MAX + 3), 0);
    assert_int_equal(load(&(struct auth_settings){.secret = bytes}), AUTH_UNUSABLE);
    assert_null(strstr(error, "xxx"));
}

static const char *warning(const char *secret)
{
    struct auth_keys *keys;
    assert_int_equal(
        auth_keys_load(&(struct auth_settings){.secret = secret}, &keys, error, sizeof error),
        AUTH_LOADED);
    const char *text = auth_keys_warning(keys);
    auth_keys_drop(keys);
    return text;
}

static void a_short_secret_is_warned_about(void **state)
{
    (void)state;
    assert_null(warning(SECRET));
    assert_non_null(warning("0123456789abcdef0123456789abcde"));
}

static void a_file_that_cannot_be_read_is_told(void **state)
{
    (void)state;
    assert_int_equal(load(&(struct auth_settings){.secret_file = "/nowhere\n/x"}), AUTH_UNREADABLE);
    assert_memory_equal(error, "/nowhere?/x: ", 13);
    assert_int_equal(load(&(struct auth_settings){.public_key_file = "/"}), AUTH_UNREADABLE);
    assert_int_equal(
        load(&(struct auth_settings){.public_key_file = "/dev/null"}), AUTH_UNREADABLE);
}

/* --- public keys ------------------------------------------------------------------------------ */

static void pem_is_looked_at(void **state)
{
    struct pair pair;
    struct buf two = {0};
    (void)state;
    pair_make(&pair, MBEDTLS_ECP_DP_SECP384R1);
    assert_int_equal(load_public(pair.public), AUTH_LOADED);
    buf_appendf(&two, "some text\nkid: a\n%skid:\tb  \r\n%s", pair.public, pair.public);
    buf_append_char(&two, '\0');
    assert_int_equal(load_public(two.data), AUTH_LOADED);
    memcpy(strchr(two.data, '\t'), " a", 2);
    assert_told(two.data, "key 2: there are two keys of kid 'a");
    assert_told(pair.private, "private key");
    assert_told("", "no public key");
    assert_told("\n\n", "no public key");
    assert_told("hello", "no public key");
    assert_told("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", "key 1 is damaged");
    assert_told("-----BEGIN PUBLIC KEY-----\nMFkw\n", "cut off");
    assert_told(
        "-----BEGIN CERTIFICATE-----\nMFkw\n-----END CERTIFICATE-----\n", "key 1 is damaged");
    pair.public[60] ^= 1;
    assert_told(pair.public, "key 1");
    buf_fini(&two);
}

static void weak_keys_and_other_curves_are_refused(void **state)
{
    struct pair pair;
    (void)state;
    pair_make(&pair, PAIR_RSA_1024);
    assert_told(pair.public, "too weak");
    pair_make(&pair, MBEDTLS_ECP_DP_SECP256K1);
    assert_told(pair.public, "none of P-256");
    pair_make(&pair, MBEDTLS_ECP_DP_BP256R1);
    assert_told(pair.public, "none of P-256");
}

static void there_are_at_most_four_keys_without_a_name(void **state)
{
    struct pair pair;
    struct buf pem = {0};
    (void)state;
    pair_make(&pair, MBEDTLS_ECP_DP_SECP256R1);
    for (size_t i = 0; i < 4; i++)
        buf_append_string(&pem, pair.public);
    buf_appendf(&pem, "kid: a\n%s", pair.public);
    buf_append_char(&pem, '\0');
    assert_int_equal(load_public(pem.data), AUTH_LOADED);
    pem.len--;
    buf_append_string(&pem, pair.public);
    buf_append_char(&pem, '\0');
    assert_told(pem.data, "without a kid");
    buf_fini(&pem);
}

static void jwk_sets_are_looked_at(void **state)
{
    (void)state;
    assert_int_equal(load_public(" \n{" P256_KEY "}"), AUTH_LOADED);
    assert_int_equal(load_public("{\"keys\":[{\"kty\":\"OKP\"},{" P256_KEY "}]}"), AUTH_LOADED);
    assert_int_equal(
        load_public("{\"keys\":[{" P256_KEY ",\"kid\":\"\"},{" P256_KEY ",\"kid\":\"a\"}]}"),
        AUTH_LOADED);
    assert_told("{\"keys\":[{" P256_KEY ",\"kid\":\"a\"},{" P256_KEY ",\"kid\":\"a\"}]}",
        "key 2: there are two keys of kid 'a'");
    assert_told("{", "line 1");
    assert_told("{}", "no JWK set");
    assert_told("{\"keys\":{}}", "no JWK set");
    assert_told("{\"keys\":[]}", "holds no key");
    assert_told("{\"keys\":[1]}", "key 1 is no JWK");
    assert_told("{\"keys\":[{" P256_KEY "},{}]}", "key 2 is no JWK");
    assert_told("{\"keys\":[{" P256_KEY ",\"use\":\"enc\"}]}", "holds no key");
    assert_told("{\"keys\":[{" P256_KEY ",\"alg\":\"ES256K\"}]}", "holds no key");
    assert_told("{\"keys\":[{" P256_KEY ",\"alg\":\"ES384\"}]}", "alg ES384");
    assert_told("{\"keys\":[{" P256_KEY ",\"d\":\"AA\"}]}", "private");
    assert_told("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}", "secret");
    assert_told("{\"kty\":\"EC\",\"crv\":\"P-256\"," P256_X "}", "no x or y");
    assert_told("{\"kty\":\"EC\",\"crv\":\"P-384\"," P256_X "," P256_Y "}", "no x or y");
    assert_told("{\"kty\":\"EC\",\"crv\":\"P-256\"," P256_X ",\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76"
                "e8Tus9uPHvRVEU\"}",
        "do not fit together");
    assert_told("{\"kty\":\"RSA\",\"n\":\"AQAB\"}", "no n or e");
    assert_told("{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQ=\"}", "no n or e");
    assert_told("{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", "key 1 ");
}

static void an_empty_kid_is_none(void **state)
{
    static const char *const texts[] = {"{" P256_KEY ",\"kid\":\"\"}", "{" P256_KEY "}"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct public_keys keys;
        struct auth_source source = {"keys", error, sizeof error};
        assert_int_equal(public_keys_parse(&keys, &source, text_of(texts[i])), AUTH_LOADED);
        assert_null(keys.at[0].name);
        public_keys_fini(&keys);
    }
}

static void a_long_number_of_a_jwk_is_refused(void **state)
{
    struct buf json = {0};
    (void)state;
    buf_append_string(&json, "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"");
    for (size_t i = 0; i < 4000; i++)
        buf_append_char(&json, 'x');
    buf_append(&json, "\"}", 3);
    assert_told(json.data, "no n or e");
    buf_fini(&json);
}

/* --- deny lists ------------------------------------------------------------------------------- */

static void deny_lists_are_looked_at(void **state)
{
    static const struct {
        const char *json;
        const char *told; /* NULL: it is good */
    } rows[] = {
        {"{}", NULL},
        {"{\"jti\":[],\"sub\":[\"a\",\"a\"]}", NULL},
        {"", "is empty"},
        {"[]", "no object"},
        {"{\"jti\":\"a\"}", "jti is no list"},
        {"{\"sub\":[\"a\",1]}", "sub: entry 2"},
        {"{\"sub\":[\"\"]}", "sub: entry 1"},
        {"{\"user\":[]}", "user: there is no such key"},
        {"{\"jti\":[],\"jti\":[]}", "line 1"},
        {"{\"jti\":[}", "line 1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct file file = file_of(rows[i].json);
        enum auth_load code =
            load(&(struct auth_settings){.secret = SECRET, .deny_file = file.path});
        assert_int_equal(code, rows[i].told ? AUTH_UNUSABLE : AUTH_LOADED);
        if (rows[i].told && !strstr(error, rows[i].told))
            fail_msg("'%s' does not say '%s'", error, rows[i].told);
        close(file.fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_set_is_no_keys_and_no_fault),
        cmocka_unit_test(conditions_without_a_key_are_refused),
        cmocka_unit_test(a_secret_is_given_once),
        cmocka_unit_test(one_line_end_is_none_of_a_secret),
        cmocka_unit_test(a_public_key_is_not_taken_for_a_secret),
        cmocka_unit_test(a_secret_may_be_as_long_as_4096_bytes),
        cmocka_unit_test(a_short_secret_is_warned_about),
        cmocka_unit_test(a_file_that_cannot_be_read_is_told),
        cmocka_unit_test(pem_is_looked_at),
        cmocka_unit_test(weak_keys_and_other_curves_are_refused),
        cmocka_unit_test(there_are_at_most_four_keys_without_a_name),
        cmocka_unit_test(jwk_sets_are_looked_at),
        cmocka_unit_test(an_empty_kid_is_none),
        cmocka_unit_test(a_long_number_of_a_jwk_is_refused),
        cmocka_unit_test(deny_lists_are_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
