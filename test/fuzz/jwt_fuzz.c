/* Tokens of strangers. The first byte says how the rest is taken: as a token; as a header and
 * claims (a line each), which are signed with the secret; or as a file of keys or of denied tokens,
 * which its owner may have spoilt. A token that holds must have been signed, and be what its parts
 * become again. */
#include <mbedtls/md.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "auth/base64url.h"
#include "auth/deny.h"
#include "auth/make.h"
#include "auth/public_keys.h"
#include "auth/verifier.h"
#include "base/utf8.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

#define SECRET "0123456789abcdef0123456789abcdef"

enum { NOW = 1700000000 };

static const char public_key[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
                                 "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                                 "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";

static struct verifier *verifier(void)
{
    static struct verifier *v;
    char path[32];
    char error[200];
    struct auth_keys *keys;
    if (v)
        return v;
    int fd = memfd_create("keys", MFD_CLOEXEC);
    CHECK(write(fd, public_key, sizeof public_key - 1) == (ssize_t)sizeof public_key - 1);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct auth_settings settings = {.secret = SECRET, .public_key_file = path, .leeway = 5};
    CHECK(auth_keys_load(&settings, &keys, error, sizeof error) == AUTH_LOADED);
    CHECK((v = verifier_new(keys)) != NULL);
    auth_keys_drop(keys);
    close(fd);
    return v;
}

static void claims_check(const struct claims *c)
{
    CHECK(c->expires > NOW - 5 && c->not_before <= NOW + 5);
    CHECK(c->user.len <= CLAIMS_USER_MAX && utf8_valid(c->user.at, c->user.len));
    CHECK(c->subscribe.limited || c->subscribe.count == 0);
    CHECK(c->publish.limited || c->publish.count == 0);
    CHECK(c->subscribe.count + c->publish.count <= CLAIMS_PATTERNS_MAX);
    for (size_t i = 0; i < c->subscribe.count; i++)
        CHECK(utf8_valid(c->subscribe.at[i].at, c->subscribe.at[i].len));
    for (size_t i = 0; i < c->publish.count; i++)
        CHECK(utf8_valid(c->publish.at[i].at, c->publish.at[i].len));
}

/* Each part of a token that holds is the one text for its bytes. */
static void parts_check(struct text token)
{
    unsigned char bytes[BASE64URL_BYTES(AUTH_TOKEN_MAX)];
    struct buf again = {0};
    while (token.at) {
        const char *dot = memchr(token.at, '.', token.len);
        struct text part = {token.at, dot ? (size_t)(dot - token.at) : token.len};
        token = dot ? (struct text){dot + 1, token.len - part.len - 1} : (struct text){NULL, 0};
        size_t len;
        CHECK(base64url_decode(part, bytes, &len));
        buf_clear(&again);
        base64url_append(&again, bytes, len);
        CHECK(text_equal(buf_text(&again), part));
    }
    buf_fini(&again);
}

static enum auth_result token_check(struct text token)
{
    struct claims *claims;
    struct buf shown = {0};
    double expires;
    enum auth_result result = verifier_check(verifier(), token, NOW, &claims);
    CHECK((result == AUTH_OK) == (claims != NULL) && result != AUTH_NO_MEMORY);
    enum auth_result seen = token_show(token, &shown, &expires);
    if (claims) {
        CHECK(seen == AUTH_OK || seen == AUTH_MALFORMED); /* integers too large to show */
        claims_check(claims);
        parts_check(token);
    }
    claims_drop(claims);
    buf_fini(&shown);
    return result;
}

static void signed_check(struct text header, struct text claims)
{
    unsigned char mac[MBEDTLS_MD_MAX_SIZE];
    const mbedtls_md_info_t *md = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
    struct buf token = {0};
    base64url_append(&token, (const unsigned char *)header.at, header.len);
    buf_append_char(&token, '.');
    base64url_append(&token, (const unsigned char *)claims.at, claims.len);
    CHECK(mbedtls_md_hmac(md, (const unsigned char *)SECRET, strlen(SECRET),
              (unsigned char *)token.data, token.len, mac) == 0);
    buf_append_char(&token, '.');
    base64url_append(&token, mac, 32);
    enum auth_result result = token_check(buf_text(&token));
    if (text_equal(header, TEXT("{\"alg\":\"HS256\"}")) && token.len <= AUTH_TOKEN_MAX)
        CHECK(result != AUTH_BAD_SIGNATURE && result != AUTH_NO_KEY);
    /* No other signature than that one will do. */
    token.data[token.len - 2] = token.data[token.len - 2] == 'A' ? 'B' : 'A';
    CHECK(token_check(buf_text(&token)) != AUTH_OK);
    buf_fini(&token);
}

static void file_check(struct text file)
{
    char error[200];
    struct auth_source source = {"file", error, sizeof error};
    struct public_keys keys;
    struct deny deny;
    if (public_keys_parse(&keys, &source, file) == AUTH_LOADED)
        CHECK(keys.count > 0 && keys.count <= PUBLIC_KEYS_MAX);
    else
        CHECK(keys.count == 0 && !strchr(error, '\n'));
    public_keys_fini(&keys);
    if (deny_parse(&deny, &source, file) == AUTH_LOADED)
        for (size_t i = 0; i < deny.ids.count; i++)
            CHECK(deny_has(&deny.ids, deny.ids.at[i]));
    deny_fini(&deny);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    /* A copy of its own, so that reading past it shows; files end with a zero byte. */
    char *copy = malloc(size);
    CHECK(copy);
    memcpy(copy, data + 1, size - 1);
    copy[size - 1] = '\0';
    struct text rest = {copy, size - 1};
    const char *line = memchr(copy, '\n', rest.len);
    if (*data == 'F') {
        file_check(rest);
    } else if (*data == 'S' && line) {
        size_t len = (size_t)(line - copy);
        signed_check((struct text){copy, len}, (struct text){line + 1, rest.len - len - 1});
    } else if (*data == 'S') {
        signed_check(TEXT("{\"alg\":\"HS256\"}"), rest);
    } else {
        char *exact = malloc(rest.len ? rest.len : 1);
        CHECK(exact);
        memcpy(exact, copy, rest.len);
        token_check((struct text){exact, rest.len});
        free(exact);
    }
    free(copy);
    return 0;
}
