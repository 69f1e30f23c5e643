#include <mbedtls/x509_crt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "auth/error.h"
#include "auth/public_keys.h"

static struct text line_take(struct text *rest)
{
    const char *end = memchr(rest->at, '\n', rest->len);
    size_t len = end ? (size_t)(end - rest->at) : rest->len;
    struct text line = {rest->at, len};
    *rest = (struct text){rest->at + len + (end != NULL), rest->len - len - (end != NULL)};
    while (line.len > 0 && memchr(" \t\r", line.at[line.len - 1], 3))
        line.len--;
    return line;
}

/* What stands in "-----BEGIN ...-----". */
static bool label_of(struct text line, const char *word, struct text *label)
{
    struct text head = text_of(word);
    if (!text_starts_with(line, head) || line.len < head.len + 5 ||
        memcmp(line.at + line.len - 5, "-----", 5) != 0)
        return false;
    *label = (struct text){line.at + head.len, line.len - head.len - 5};
    return true;
}

static enum auth_load faulty(const struct auth_source *source, size_t number, int error)
{
    if (auth_error_is_memory(error))
        return auth_refuse(source, AUTH_LOAD_NO_MEMORY, "out of memory");
    return auth_refuse(source, AUTH_UNUSABLE,
        "key %zu is damaged, or of a kind that is not known (mbedTLS: -0x%04x)", number,
        (unsigned)-error);
}

static enum auth_load block_add(struct public_keys *keys, const struct auth_source *source,
    size_t number, struct text label, struct text block, struct text name)
{
    mbedtls_pk_context pk;
    mbedtls_x509_crt certificate;
    bool is_certificate = text_equal(label, TEXT("CERTIFICATE"));
    char *copy = malloc(block.len + 1);
    if (!copy)
        return auth_refuse(source, AUTH_LOAD_NO_MEMORY, "out of memory");
    memcpy(copy, block.at, block.len);
    copy[block.len] = '\0';
    mbedtls_pk_init(&pk);
    mbedtls_x509_crt_init(&certificate);
    int error = is_certificate
                    ? mbedtls_x509_crt_parse(&certificate, (unsigned char *)copy, block.len + 1)
                    : mbedtls_pk_parse_public_key(&pk, (unsigned char *)copy, block.len + 1);
    enum auth_load code = error ? faulty(source, number, error)
                                : public_keys_add(keys, source, number,
                                      is_certificate ? &certificate.pk : &pk, name, NULL);
    mbedtls_pk_free(&pk);
    mbedtls_x509_crt_free(&certificate);
    free(copy);
    return code;
}

static bool contains(struct text text, const char *word)
{
    return memmem(text.at, text.len, word, strlen(word)) != NULL;
}

static enum auth_load block_read(struct public_keys *keys, const struct auth_source *source,
    size_t number, struct text label, struct text block, struct text name)
{
    if (contains(label, "PRIVATE KEY"))
        return auth_refuse(source, AUTH_UNUSABLE,
            "holds a private key: give the public one (openssl pkey -pubout), and keep the other "
            "where tokens are made");
    if (text_equal(label, TEXT("EC PARAMETERS")))
        return AUTH_LOADED;
    return block_add(keys, source, number, label, block, name);
}

enum auth_load public_keys_parse_pem(
    struct public_keys *keys, const struct auth_source *source, struct text file)
{
    struct text label = {0};
    struct text block = {0};
    struct text name = {0};
    size_t number = 0;
    enum auth_load code = AUTH_LOADED;
    while (file.len > 0 && code == AUTH_LOADED) {
        const char *start = file.at;
        struct text end_label;
        struct text line = line_take(&file);
        if (!block.at && label_of(line, "-----BEGIN ", &label)) {
            block.at = start;
        } else if (block.at && label_of(line, "-----END ", &end_label)) {
            block.len = (size_t)(file.at - block.at);
            code = block_read(keys, source, ++number, label, block, name);
            block = name = (struct text){0};
        } else if (!block.at && text_starts_with(line, TEXT("kid:"))) {
            name = (struct text){line.at + 4, line.len - 4};
            while (name.len > 0 && (*name.at == ' ' || *name.at == '\t')) {
                name.at++;
                name.len--;
            }
        }
    }
    if (code != AUTH_LOADED)
        return code;
    if (block.at)
        return auth_refuse(source, AUTH_UNUSABLE, "is cut off: the last block has no END line");
    if (keys->count == 0)
        return auth_refuse(source, AUTH_UNUSABLE,
            "holds no public key: give PEM (-----BEGIN PUBLIC KEY-----) or a JWK set");
    return AUTH_LOADED;
}
