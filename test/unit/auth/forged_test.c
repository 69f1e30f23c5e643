/* Tokens that must not hold, each with the reason it must be refused for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/auth/tokens.h"

#define GOOD "{\"sub\":\"alice\",\"exp\":1700000100}"
#define HEADER "{\"alg\":\"HS256\"}"

/* Of RFC 7515, A.3. */
#define PUBLIC_KEY                                                                                 \
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","     \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"%s}"
#define PUBLIC_TOKEN                                                                               \
    "eyJhbGciOiJFUzI1NiJ9."                                                                        \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnV"  \
    "lfQ."                                                                                         \
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
enum { PUBLIC_NOW = 1300819370 };

struct scene {
    struct verifier *v;
    struct buf token;
};

static void scene_begin(struct scene *s, struct auth_settings settings)
{
    *s = (struct scene){0};
    if (!settings.secret && !settings.public_key_file)
        settings.secret = SECRET;
    settings.leeway = AUTH_LEEWAY;
    s->v = verifier_of(&settings);
}

static void scene_end(struct scene *s)
{
    verifier_free(s->v);
    buf_fini(&s->token);
}

static enum auth_result check_text(struct scene *s, struct text token)
{
    struct claims *claims;
    enum auth_result result = verifier_check(s->v, token, NOW, &claims);
    assert_true((result == AUTH_OK) == (claims != NULL));
    claims_drop(claims);
    return result;
}

static enum auth_result check(struct scene *s)
{
    assert_false(s->token.failed);
    return check_text(s, buf_text(&s->token));
}

/* Signed with the secret, whatever its header says. */
static enum auth_result check_header(struct scene *s, const char *header)
{
    token_begin(&s->token, header, GOOD);
    token_sign(&s->token, MBEDTLS_MD_SHA256, SECRET);
    return check(s);
}

static enum auth_result check_claims(struct scene *s, const char *claims)
{
    token_good(&s->token, claims);
    return check(s);
}

static void every_digest_holds_by_its_own_name_only(void **state)
{
    static const struct {
        const char *name;
        mbedtls_md_type_t digest;
    } algs[] = {
        {"HS256", MBEDTLS_MD_SHA256}, {"HS384", MBEDTLS_MD_SHA384}, {"HS512", MBEDTLS_MD_SHA512}};
    struct scene s;
    (void)state;
    scene_begin(&s, (struct auth_settings){0});
    for (size_t i = 0; i < 9; i++) {
        char header[40];
        snprintf(header, sizeof header, "{\"alg\":\"%s\"}", algs[i / 3].name);
        token_begin(&s.token, header, GOOD);
        token_sign(&s.token, algs[i % 3].digest, SECRET);
        assert_int_equal(check(&s), i / 3 == i % 3 ? AUTH_OK : AUTH_BAD_SIGNATURE);
    }
    scene_end(&s);
}

static void headers_are_refused(void **state)
{
    static const struct {
        const char *header;
        enum auth_result result;
    } rows[] = {
        {HEADER, AUTH_OK},
        {"{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"x\",\"other\":[{}]}", AUTH_OK},
        {"{\"alg\":\"none\"}", AUTH_NO_KEY},
        {"{\"alg\":\"None\"}", AUTH_NO_KEY},
        {"{\"alg\":\"hs256\"}", AUTH_NO_KEY},
        {"{\"alg\":\"HS256 \"}", AUTH_NO_KEY},
        {"{\"alg\":\"\"}", AUTH_NO_KEY},
        {"{\"alg\":\"ES256\"}", AUTH_NO_KEY},
        {"{\"alg\":\"RS256\"}", AUTH_NO_KEY},
        {"{\"alg\":\"PS256\"}", AUTH_NO_KEY},
        {"{\"alg\":null}", AUTH_MALFORMED},
        {"{\"alg\":[\"HS256\"]}", AUTH_MALFORMED},
        {"{\"alg\":\"HS256\\u0000\"}", AUTH_MALFORMED},
        {"{\"Alg\":\"HS256\"}", AUTH_MALFORMED},
        {"{}", AUTH_MALFORMED},
        {"{\"alg\":\"HS256\",\"alg\":\"HS256\"}", AUTH_MALFORMED},
        {"{\"alg\":\"none\",\"alg\":\"HS256\"}", AUTH_MALFORMED},
        {"{\"alg\":\"HS256\",\"a\\u006cg\":\"HS256\"}", AUTH_MALFORMED},
        {"{\"alg\":\"HS256\",\"crit\":[]}", AUTH_MALFORMED},
        {"{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", AUTH_MALFORMED},
        {"{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AA\"}}", AUTH_MALFORMED},
        {"{\"alg\":\"HS256\",\"jku\":\"https://x\"}", AUTH_MALFORMED},
        {"{\"alg\":\"HS256\",\"x5u\":\"https://x\"}", AUTH_MALFORMED},
        {"{\"alg\":\"HS256\",\"x5c\":[]}", AUTH_MALFORMED},
        {"{\"alg\":\"HS256\",\"kid\":1}", AUTH_MALFORMED},
        {"{\"alg\":\"HS256\",\"kid\":\"\xff\"}", AUTH_MALFORMED},
        {"{\"alg\":\"HS256\",\"kid\":\"\xc0\xaf\"}", AUTH_MALFORMED},
        {"{\"alg\":\"HS256\"} x", AUTH_MALFORMED},
        {"{\"alg\":\"HS256\",}", AUTH_MALFORMED},
        {"{'alg':'HS256'}", AUTH_MALFORMED},
        {"[\"HS256\"]", AUTH_MALFORMED},
        {"\"HS256\"", AUTH_MALFORMED},
        {"null", AUTH_MALFORMED},
        {"{\"alg\":\"HS256\"", AUTH_MALFORMED},
        {"", AUTH_MALFORMED},
    };
    struct scene s;
    (void)state;
    scene_begin(&s, (struct auth_settings){0});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum auth_result result = check_header(&s, rows[i].header);
        if (result != rows[i].result)
            fail_msg("%s: %s", rows[i].header, auth_result_word(result));
    }
    scene_end(&s);
}

static void claims_are_refused(void **state)
{
    static const struct {
        const char *claims;
        enum auth_result result;
    } rows[] = {
        {GOOD, AUTH_OK},
        {"{}", AUTH_OK},
        {"{\"sub\":\"\",\"other\":{\"exp\":1}}", AUTH_OK},
        {"[]", AUTH_MALFORMED},
        {"null", AUTH_MALFORMED},
        {"", AUTH_MALFORMED},
        {"{\"sub\":\"a\"", AUTH_MALFORMED},
        {"{\"sub\":\"a\",\"sub\":\"b\"}", AUTH_MALFORMED},
        {"{\"exp\":1800000000,\"e\\u0078p\":1}", AUTH_MALFORMED},
        {"{\"hermes\":{\"publish\":[],\"publish\":[]}}", AUTH_MALFORMED},
        {"{\"sub\":\"\xff\"}", AUTH_MALFORMED},
        {"{\"sub\":\"\\ud800\"}", AUTH_MALFORMED},
        {"{\"sub\":\"a\\u0000b\"}", AUTH_MALFORMED},
        {"{\"exp\":1e999}", AUTH_MALFORMED},
        {"{\"exp\":017}", AUTH_MALFORMED},
        {"{\"exp\":NaN}", AUTH_MALFORMED},
        {"{\"sub\":1}", AUTH_BAD_CLAIMS},
        {"{\"sub\":null}", AUTH_BAD_CLAIMS},
        {"{\"jti\":1}", AUTH_BAD_CLAIMS},
        {"{\"iss\":[\"a\"]}", AUTH_BAD_CLAIMS},
        {"{\"aud\":1}", AUTH_BAD_CLAIMS},
        {"{\"aud\":[\"a\",1]}", AUTH_BAD_CLAIMS},
        {"{\"aud\":null}", AUTH_BAD_CLAIMS},
        {"{\"exp\":\"1800000000\"}", AUTH_BAD_CLAIMS},
        {"{\"exp\":null}", AUTH_BAD_CLAIMS},
        {"{\"exp\":true}", AUTH_BAD_CLAIMS},
        {"{\"nbf\":\"0\"}", AUTH_BAD_CLAIMS},
        {"{\"nbf\":[]}", AUTH_BAD_CLAIMS},
        {"{\"hermes\":null}", AUTH_BAD_CLAIMS},
        {"{\"hermes\":[]}", AUTH_BAD_CLAIMS},
        {"{\"hermes\":true}", AUTH_BAD_CLAIMS},
        {"{\"hermes\":{\"subscirbe\":[]}}", AUTH_BAD_CLAIMS},
        {"{\"hermes\":{\"subscribe\":\"a\"}}", AUTH_BAD_CLAIMS},
        {"{\"hermes\":{\"subscribe\":null}}", AUTH_BAD_CLAIMS},
        {"{\"hermes\":{\"publish\":[1]}}", AUTH_BAD_CLAIMS},
        {"{\"hermes\":{\"publish\":[\"a\",[]]}}", AUTH_BAD_CLAIMS},
        {"{\"hermes\":{\"presence\":1}}", AUTH_BAD_CLAIMS},
        {"{\"hermes\":{\"presence\":\"true\"}}", AUTH_BAD_CLAIMS},
        {"{\"exp\":1699999995}", AUTH_EXPIRED},
        {"{\"exp\":1699999996}", AUTH_OK},
        {"{\"exp\":1699999995.1}", AUTH_OK},
        {"{\"exp\":0}", AUTH_EXPIRED},
        {"{\"exp\":-1}", AUTH_EXPIRED},
        {"{\"exp\":-1e300}", AUTH_EXPIRED},
        {"{\"exp\":1e300}", AUTH_OK},
        {"{\"exp\":9223372036854775807}", AUTH_OK},
        {"{\"exp\":99999999999999999999999999}", AUTH_OK},
        {"{\"nbf\":1700000005}", AUTH_OK},
        {"{\"nbf\":1700000005.5}", AUTH_NOT_YET},
        {"{\"nbf\":1700000006}", AUTH_NOT_YET},
        {"{\"nbf\":1e300}", AUTH_NOT_YET},
        {"{\"nbf\":-5}", AUTH_OK},
        {"{\"iat\":1800000000}", AUTH_OK},
    };
    struct scene s;
    (void)state;
    scene_begin(&s, (struct auth_settings){0});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum auth_result result = check_claims(&s, rows[i].claims);
        if (result != rows[i].result)
            fail_msg("%s: %s", rows[i].claims, auth_result_word(result));
    }
    scene_end(&s);
}

static void an_audience_and_an_issuer_are_asked_for(void **state)
{
    static const struct {
        const char *claims;
        enum auth_result result;
    } rows[] = {
        {"{\"iss\":\"joe\",\"aud\":\"chat\"}", AUTH_OK},
        {"{\"iss\":\"joe\",\"aud\":[\"x\",\"chat\"]}", AUTH_OK},
        {"{\"iss\":\"joe\"}", AUTH_WRONG_AUDIENCE},
        {"{\"iss\":\"joe\",\"aud\":[]}", AUTH_WRONG_AUDIENCE},
        {"{\"iss\":\"joe\",\"aud\":\"chat \"}", AUTH_WRONG_AUDIENCE},
        {"{\"iss\":\"joe\",\"aud\":\"Chat\"}", AUTH_WRONG_AUDIENCE},
        {"{\"iss\":\"joe\",\"aud\":[[\"chat\"]]}", AUTH_BAD_CLAIMS},
        {"{\"aud\":\"chat\"}", AUTH_WRONG_ISSUER},
        {"{\"aud\":\"chat\",\"iss\":\"\"}", AUTH_WRONG_ISSUER},
        {"{\"aud\":\"chat\",\"iss\":\"joey\"}", AUTH_WRONG_ISSUER},
        {"{\"aud\":\"chat\",\"iss\":\"jo\"}", AUTH_WRONG_ISSUER},
    };
    struct scene s;
    (void)state;
    scene_begin(&s, (struct auth_settings){.audience = "chat", .issuer = "joe"});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum auth_result result = check_claims(&s, rows[i].claims);
        if (result != rows[i].result)
            fail_msg("%s: %s", rows[i].claims, auth_result_word(result));
    }
    scene_end(&s);
}

static void tokens_and_users_of_the_deny_list_are_refused(void **state)
{
    struct scene s;
    struct file deny = file_of("{\"jti\":[\"t9\",\"t1\",\"t5\"],\"sub\":[\"mallory\"]}");
    (void)state;
    scene_begin(&s, (struct auth_settings){.deny_file = deny.path});
    assert_int_equal(check_claims(&s, "{\"jti\":\"t1\"}"), AUTH_DENIED);
    assert_int_equal(check_claims(&s, "{\"jti\":\"t5\"}"), AUTH_DENIED);
    assert_int_equal(check_claims(&s, "{\"jti\":\"t9\"}"), AUTH_DENIED);
    assert_int_equal(check_claims(&s, "{\"jti\":\"t2\"}"), AUTH_OK);
    assert_int_equal(check_claims(&s, "{\"jti\":\"mallory\"}"), AUTH_OK);
    assert_int_equal(check_claims(&s, "{\"sub\":\"mallory\"}"), AUTH_DENIED);
    assert_int_equal(check_claims(&s, "{\"sub\":\"Mallory\"}"), AUTH_OK);
    assert_int_equal(check_claims(&s, "{}"), AUTH_OK);
    scene_end(&s);
    close(deny.fd);
}

/* --- the three parts -------------------------------------------------------------------------- */

static void what_is_not_three_parts_of_base64url_is_refused(void **state)
{
    static const char *const rows[] = {"", ".", "..", "...", "a", "a.b", "a.b.c", "e30.e30.",
        ".e30.", "eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJIUzI1NiJ9.e30",
        "eyJhbGciOiJIUzI1NiJ9.e30.AA.AA", "eyJhbGciOiJub25lIn0.e30.AA.AA",
        "eyJhbGciOiJIUzI1NiJ9.e30.AA=", "eyJhbGciOiJIUzI1NiJ9.e30.A", "eyJhbGciOiJIUzI1NiJ9.e30.AB",
        "eyJhbGciOiJIUzI1NiJ9.e30.A+", "eyJhbGciOiJIUzI1NiJ9.e30.A/",
        "eyJhbGciOiJIUzI1NiJ9.e30.AA\n", " eyJhbGciOiJIUzI1NiJ9.e30.AA",
        "eyJhbGciOiJIUzI1NiJ9=.e30.AA", "eyJhbGciOiJIUzI1NiJ9\t.e30.AA"};
    struct scene s;
    (void)state;
    scene_begin(&s, (struct auth_settings){0});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (check_text(&s, text_of(rows[i])) != AUTH_MALFORMED)
            fail_msg("'%s'", rows[i]);
    assert_int_equal(check_text(&s, TEXT("eyJhbGciOiJIUzI1NiJ9.e30.")), AUTH_BAD_SIGNATURE);
    assert_int_equal(check_text(&s, TEXT("eyJhbGciOiJub25lIn0.e30.")), AUTH_NO_KEY);
    scene_end(&s);
}

static void a_token_that_is_cut_anywhere_is_refused(void **state)
{
    struct scene s;
    (void)state;
    scene_begin(&s, (struct auth_settings){0});
    token_good(&s.token, GOOD);
    assert_int_equal(check(&s), AUTH_OK);
    for (size_t len = 0; len < s.token.len; len++)
        assert_int_not_equal(check_text(&s, (struct text){s.token.data, len}), AUTH_OK);
    scene_end(&s);
}

static void a_token_with_any_other_character_is_refused(void **state)
{
    struct scene s;
    (void)state;
    scene_begin(&s, (struct auth_settings){0});
    token_good(&s.token, GOOD);
    for (size_t i = 0; i < s.token.len; i++) {
        char was = s.token.data[i];
        for (int c = 0; c < 256; c++) {
            s.token.data[i] = (char)c;
            assert_true((check(&s) == AUTH_OK) == ((char)c == was));
        }
        s.token.data[i] = was;
    }
    scene_end(&s);
}

/* Signed by somebody with the key, and yet. */
static void a_payload_that_is_not_base64url_is_refused_although_it_is_signed(void **state)
{
    struct scene s;
    (void)state;
    scene_begin(&s, (struct auth_settings){0});
    buf_append_string(&s.token, "eyJhbGciOiJIUzI1NiJ9.e30=");
    token_sign(&s.token, MBEDTLS_MD_SHA256, SECRET);
    assert_int_equal(check(&s), AUTH_MALFORMED);
    scene_end(&s);
}

static void a_signature_that_is_too_long_or_too_short_is_refused(void **state)
{
    struct scene s;
    (void)state;
    scene_begin(&s, (struct auth_settings){0});
    token_good(&s.token, GOOD);
    buf_append_string(&s.token, "AAAA");
    assert_int_equal(check(&s), AUTH_BAD_SIGNATURE);
    s.token.len -= 4 + 43 - 40;
    assert_int_equal(check(&s), AUTH_BAD_SIGNATURE);
    scene_end(&s);
}

static void another_secret_is_another_signature(void **state)
{
    struct scene s;
    (void)state;
    scene_begin(&s, (struct auth_settings){0});
    token_begin(&s.token, HEADER, GOOD);
    token_sign(&s.token, MBEDTLS_MD_SHA256, "0123456789abcdef0123456789abcdeF");
    assert_int_equal(check(&s), AUTH_BAD_SIGNATURE);
    token_begin(&s.token, HEADER, GOOD);
    token_sign(&s.token, MBEDTLS_MD_SHA256, "");
    assert_int_equal(check(&s), AUTH_BAD_SIGNATURE);
    scene_end(&s);
}

static void a_huge_token_is_not_looked_at(void **state)
{
    struct scene s;
    struct buf claims = {0};
    (void)state;
    scene_begin(&s, (struct auth_settings){0});
    for (size_t filling = 0; s.token.len < AUTH_TOKEN_MAX; filling += 1 + (filling == 0) * 6000) {
        buf_clear(&claims);
        buf_append_string(&claims, "{\"x\":\"");
        for (size_t i = 0; i < filling; i++)
            buf_append_char(&claims, 'x');
        buf_append_string(&claims, "\"}");
        buf_append_char(&claims, '\0');
        token_good(&s.token, claims.data);
        assert_int_equal(check(&s), s.token.len <= AUTH_TOKEN_MAX ? AUTH_OK : AUTH_MALFORMED);
    }
    buf_fini(&claims);
    scene_end(&s);
}

static void claims_that_nest_without_end_are_refused(void **state)
{
    struct scene s;
    char claims[5000];
    (void)state;
    scene_begin(&s, (struct auth_settings){0});
    for (size_t depth = 1; depth < 2000; depth += depth < 40 ? 1 : 400) {
        /* {"x":[[[...]]]}, and brackets in a text, which count for nothing */
        size_t at = (size_t)snprintf(claims, sizeof claims, "{\"y\":\"[[[[\\\"{{[[\",\"x\":");
        memset(claims + at, '[', depth);
        memset(claims + at + depth, ']', depth);
        claims[at + 2 * depth] = '}';
        claims[at + 2 * depth + 1] = '\0';
        assert_int_equal(check_claims(&s, claims), depth < 32 ? AUTH_OK : AUTH_MALFORMED);
    }
    scene_end(&s);
}

/* --- public keys ------------------------------------------------------------------------------ */

static struct file key_file(const char *more)
{
    char key[600];
    snprintf(key, sizeof key, PUBLIC_KEY, more);
    return file_of(key);
}

static enum auth_result check_public(const char *more, const char *token)
{
    struct file file = key_file(more);
    struct scene s;
    struct claims *claims;
    scene_begin(&s, (struct auth_settings){.public_key_file = file.path});
    enum auth_result result = verifier_check(s.v, text_of(token), PUBLIC_NOW, &claims);
    claims_drop(claims);
    scene_end(&s);
    close(file.fd);
    return result;
}

static void a_public_key_is_no_secret(void **state)
{
    struct scene s;
    char key[600];
    struct file file = key_file("");
    (void)state;
    snprintf(key, sizeof key, PUBLIC_KEY, "");
    scene_begin(&s, (struct auth_settings){.public_key_file = file.path});
    token_begin(&s.token, HEADER, GOOD);
    token_sign(&s.token, MBEDTLS_MD_SHA256, key);
    assert_int_equal(check(&s), AUTH_NO_KEY);
    scene_end(&s);
    close(file.fd);
}

static void a_key_may_say_what_it_is_for(void **state)
{
    (void)state;
    assert_int_equal(check_public("", PUBLIC_TOKEN), AUTH_OK);
    assert_int_equal(check_public(",\"alg\":\"ES256\",\"use\":\"sig\"", PUBLIC_TOKEN), AUTH_OK);
    assert_int_equal(check_public(",\"kid\":\"k1\"", PUBLIC_TOKEN), AUTH_OK);
}

static void a_signature_on_a_curve_is_as_long_as_its_numbers_and_neither_is_zero(void **state)
{
    static const char head[] = "eyJhbGciOiJFUzI1NiJ9.e30.";
    struct buf token = {0};
    unsigned char zero[65] = {0};
    (void)state;
    for (size_t len = 0; len <= 65; len++) {
        buf_clear(&token);
        buf_append_string(&token, head);
        base64url_append(&token, zero, len);
        buf_append_char(&token, '\0');
        assert_int_equal(check_public("", token.data), AUTH_BAD_SIGNATURE);
    }
    memset(zero, 0xff, sizeof zero);
    buf_clear(&token);
    buf_append_string(&token, head);
    base64url_append(&token, zero, 64);
    buf_append_char(&token, '\0');
    assert_int_equal(check_public("", token.data), AUTH_BAD_SIGNATURE);
    buf_fini(&token);
}

static void every_result_has_a_word_and_a_sentence(void **state)
{
    (void)state;
    for (int i = 0; i < AUTH_RESULT_COUNT; i++) {
        assert_non_null(auth_result_word((enum auth_result)i));
        const char *text = auth_result_text((enum auth_result)i);
        assert_int_equal(text[strlen(text) - 1], '.');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_digest_holds_by_its_own_name_only),
        cmocka_unit_test(headers_are_refused),
        cmocka_unit_test(claims_are_refused),
        cmocka_unit_test(an_audience_and_an_issuer_are_asked_for),
        cmocka_unit_test(tokens_and_users_of_the_deny_list_are_refused),
        cmocka_unit_test(what_is_not_three_parts_of_base64url_is_refused),
        cmocka_unit_test(a_token_that_is_cut_anywhere_is_refused),
        cmocka_unit_test(a_token_with_any_other_character_is_refused),
        cmocka_unit_test(a_payload_that_is_not_base64url_is_refused_although_it_is_signed),
        cmocka_unit_test(a_signature_that_is_too_long_or_too_short_is_refused),
        cmocka_unit_test(another_secret_is_another_signature),
        cmocka_unit_test(a_huge_token_is_not_looked_at),
        cmocka_unit_test(claims_that_nest_without_end_are_refused),
        cmocka_unit_test(a_public_key_is_no_secret),
        cmocka_unit_test(a_key_may_say_what_it_is_for),
        cmocka_unit_test(a_signature_on_a_curve_is_as_long_as_its_numbers_and_neither_is_zero),
        cmocka_unit_test(every_result_has_a_word_and_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
