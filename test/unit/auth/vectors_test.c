/* The examples of RFC 7515, appendix A, and of RFC 7519, section 3.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/auth/tokens.h"

#define PAYLOAD                                                                                    \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cn"   \
    "VlfQ"

static const char a1_key[] =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

static const char a1_token[] = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." PAYLOAD
                               ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

static const char a2_key[] =
    "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-"
    "Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_"
    "7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3"
    "qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRW"
    "yuXpoQ\",\"e\":\"AQAB\"}";

static const char a2_token[] =
    "eyJhbGciOiJSUzI1NiJ9." PAYLOAD
    ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2F"
    "p5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBM"
    "Hlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2"
    "w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

static const char a3_key[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHv"
    "RVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";

static const char a3_token[] =
    "eyJhbGciOiJFUzI1NiJ9." PAYLOAD
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

static const char a4_key[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wT"
    "jxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk\",\"y\":\"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQ"
    "yyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2\"}]}";

/* Its payload is the word Payload: the signature holds, the claims cannot. */
static const char a4_token[] =
    "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA."
    "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7Xdt"
    "AG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";

enum { IN_TIME = 1300819379 };

static enum auth_result check(const struct auth_settings *settings, const char *token, uint64_t now)
{
    struct claims *claims;
    struct verifier *v = verifier_of(settings);
    enum auth_result result = verifier_check(v, text_of(token), now, &claims);
    if (result == AUTH_OK)
        assert_int_equal(claims->expires, 1300819380);
    else
        assert_null(claims);
    claims_drop(claims);
    verifier_free(v);
    return result;
}

/* The token with one bit of its signature changed. */
static const char *spoiled(const char *token)
{
    static char copy[1024];
    snprintf(copy, sizeof copy, "%s", token);
    char *c = strrchr(copy, '.') + 5;
    *c = *c == 'A' ? 'B' : 'A';
    return copy;
}

static void check_all(const struct auth_settings *settings, const char *token)
{
    assert_int_equal(check(settings, token, IN_TIME), AUTH_OK);
    assert_int_equal(check(settings, token, IN_TIME + 1), AUTH_EXPIRED);
    assert_int_equal(check(settings, spoiled(token), IN_TIME), AUTH_BAD_SIGNATURE);
}

static void with_public_key(const char *key, const char *token)
{
    struct file file = file_of(key);
    struct auth_settings settings = {.public_key_file = file.path, .issuer = "joe"};
    check_all(&settings, token);
    close(file.fd);
}

static void example_a1_holds_by_its_secret(void **state)
{
    unsigned char key[80];
    size_t len;
    (void)state;
    assert_true(base64url_decode(text_of(a1_key), key, &len));
    assert_int_equal(len, 64);
    struct file file = file_make(key, len);
    struct auth_settings settings = {.secret_file = file.path};
    check_all(&settings, a1_token);
    close(file.fd);
}

static void example_a2_holds_by_its_rsa_key(void **state)
{
    (void)state;
    with_public_key(a2_key, a2_token);
}

static void a_key_may_be_for_one_algorithm_alone(void **state)
{
    char key[600];
    (void)state;
    for (int i = 0; i < 2; i++) {
        snprintf(key, sizeof key, "%.*s,\"alg\":\"%s\"}", (int)strlen(a2_key) - 1, a2_key,
            i ? "RS512" : "RS256");
        struct file file = file_of(key);
        struct auth_settings settings = {.public_key_file = file.path};
        assert_int_equal(check(&settings, a2_token, IN_TIME), i ? AUTH_NO_KEY : AUTH_OK);
        close(file.fd);
    }
}

static void example_a3_holds_by_its_key_on_p256(void **state)
{
    (void)state;
    with_public_key(a3_key, a3_token);
}

static void example_a4_holds_by_its_key_on_p521_but_claims_nothing(void **state)
{
    (void)state;
    struct file file = file_of(a4_key);
    struct auth_settings settings = {.public_key_file = file.path};
    assert_int_equal(check(&settings, a4_token, IN_TIME), AUTH_MALFORMED);
    assert_int_equal(check(&settings, spoiled(a4_token), IN_TIME), AUTH_BAD_SIGNATURE);
    close(file.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example_a1_holds_by_its_secret),
        cmocka_unit_test(example_a2_holds_by_its_rsa_key),
        cmocka_unit_test(a_key_may_be_for_one_algorithm_alone),
        cmocka_unit_test(example_a3_holds_by_its_key_on_p256),
        cmocka_unit_test(example_a4_holds_by_its_key_on_p521_but_claims_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
