/* Tokens and keys for the tests of auth. */
#ifndef HERMES_TEST_UNIT_AUTH_TOKENS_H
#define HERMES_TEST_UNIT_AUTH_TOKENS_H

#include <mbedtls/md.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "auth/alg.h"
#include "auth/base64url.h"
#include "auth/verifier.h"
#include "base/buf.h"

#define SECRET "0123456789abcdef0123456789abcdef"

enum { NOW = 1700000000 };

/* A file that lies in memory and has a path all the same. */
struct file {
    int fd;
    char path[32];
};

static inline struct file file_make(const void *bytes, size_t len)
{
    struct file f = {.fd = memfd_create("test", MFD_CLOEXEC)};
    if (f.fd < 0 || write(f.fd, bytes, len) != (ssize_t)len)
        abort();
    snprintf(f.path, sizeof f.path, "/proc/self/fd/%d", f.fd);
    return f;
}

static inline struct file file_of(const char *text)
{
    return file_make(text, strlen(text));
}

/* header.payload of two texts, as `token`, which is the caller's. */
static inline void token_begin(struct buf *token, const char *header, const char *payload)
{
    buf_clear(token);
    base64url_append(token, (const unsigned char *)header, strlen(header));
    buf_append_char(token, '.');
    base64url_append(token, (const unsigned char *)payload, strlen(payload));
}

/* Adds the signature by a secret. */
static inline void token_sign(struct buf *token, mbedtls_md_type_t digest, const char *secret)
{
    unsigned char mac[MBEDTLS_MD_MAX_SIZE];
    const mbedtls_md_info_t *md = mbedtls_md_info_from_type(digest);
    mbedtls_md_hmac(md, (const unsigned char *)secret, strlen(secret),
        (const unsigned char *)token->data, token->len, mac);
    buf_append_char(token, '.');
    base64url_append(token, mac, mbedtls_md_get_size(md));
}

static inline void token_good(struct buf *token, const char *payload)
{
    token_begin(token, "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", payload);
    token_sign(token, MBEDTLS_MD_SHA256, SECRET);
}

static inline struct verifier *verifier_of(const struct auth_settings *settings)
{
    char error[300] = "";
    struct auth_keys *keys;
    enum auth_load code = auth_keys_load(settings, &keys, error, sizeof error);
    if (code != AUTH_LOADED || !keys) {
        fprintf(stderr, "%s\n", error);
        abort();
    }
    struct verifier *v = verifier_new(keys);
    auth_keys_drop(keys);
    return v;
}

#endif
