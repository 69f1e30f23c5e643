/* The public keys that signatures are checked with, as a file gives them: PEM blocks (public keys
 * or certificates, of which only the key counts), each perhaps behind a line `kid: NAME`; or JSON,
 * one JWK or a set of them (RFC 7517).
 *
 * Ownership: whoever holds the struct. */
#ifndef HERMES_AUTH_PUBLIC_KEYS_H
#define HERMES_AUTH_PUBLIC_KEYS_H

#include <mbedtls/pk.h>
#include <stddef.h>

#include "auth/alg.h"
#include "auth/load.h"
#include "base/text.h"

enum {
    PUBLIC_KEYS_FILE_MAX = 1 << 20,
    PUBLIC_KEYS_MAX = 256,
    PUBLIC_KEYS_NAMELESS_MAX = 4, /* each of them may have to be tried for one token */
    PUBLIC_KEY_NAME_MAX = 256,
    PUBLIC_KEY_RSA_MIN = 2048, /* bits; RFC 7518, section 3.3 */
    PUBLIC_KEY_RSA_MAX = 8192,
};

struct public_key {
    enum auth_kind kind;
    const struct auth_alg *only; /* NULL: all of the kind */
    char *name;                  /* its kid; NULL: it has none */
    unsigned char *der;          /* a SubjectPublicKeyInfo */
    size_t der_len;
};

struct public_keys {
    struct public_key *at;
    size_t count;
};

/* Reads `source->name`; at least one key on success, nothing on a failure. */
enum auth_load public_keys_read(struct public_keys *keys, const struct auth_source *source);

/* The same of a text that is there already; a zero byte follows it. */
enum auth_load public_keys_parse(
    struct public_keys *keys, const struct auth_source *source, struct text file);
void public_keys_fini(struct public_keys *keys);

/* The kind of a key that mbedTLS has, its public part written as DER to the end of `der`; 0, or why
 * not, a static sentence. */
enum { PUBLIC_KEY_DER_MAX = 2048 };
const char *public_key_write(mbedtls_pk_context *pk, enum auth_kind *kind,
    unsigned char der[PUBLIC_KEY_DER_MAX], size_t *len);

/* --- for the two formats ---------------------------------------------------------------------- */

/* Adds a key, with copies of all it is given; `number` is its place in the file, from 1. */
enum auth_load public_keys_add(struct public_keys *keys, const struct auth_source *source,
    size_t number, mbedtls_pk_context *pk, struct text name, const struct auth_alg *only);
enum auth_load public_keys_parse_pem(
    struct public_keys *keys, const struct auth_source *source, struct text file);
enum auth_load public_keys_parse_jwk(
    struct public_keys *keys, const struct auth_source *source, struct text file);

#endif
