/* Makes tokens, and looks into them: for hermes token, and for nothing in the server.
 *
 * Threads: any. */
#ifndef HERMES_AUTH_MAKE_H
#define HERMES_AUTH_MAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/alg.h"
#include "auth/load.h"
#include "auth/result.h"
#include "auth/secret.h"
#include "base/buf.h"
#include "base/text.h"

/* What signs: a secret, or a private key. */
struct token_key {
    enum auth_kind kind;
    struct secret bytes; /* the secret, or PEM */
};

/* AUTH_LOADED; else one line in `source->error`. To be followed by token_key_fini, whatever comes.
 */
enum auth_load token_key_read_secret(struct token_key *key, const struct auth_source *source);
enum auth_load token_key_read_private(struct token_key *key, const struct auth_source *source);
void token_key_fini(struct token_key *key);

/* Texts that are NULL are left out. */
struct token_wish {
    const struct auth_alg *alg; /* NULL: the first of the key's kind */
    const char *name;           /* kid */
    const char *user;
    const char *id;
    const char *audience;
    const char *issuer;
    uint64_t issued;
    uint64_t expires;       /* 0: never */
    const char **subscribe; /* NULL-terminated lists; NULL: no limit */
    const char **publish;
    bool presence; /* only counts where there is a list */
};

/* Appends the token to `out`. NULL, or a sentence that says why not, static. */
const char *token_make(const struct token_key *key, const struct token_wish *wish, struct buf *out);

/* Appends {"header": ..., "claims": ...} to `out`, laid out for people. Nothing is verified.
 * AUTH_OK, AUTH_MALFORMED or AUTH_NO_MEMORY; `*expires` is what `exp` says, or TOKEN_NO_EXPIRY. */
#define TOKEN_NO_EXPIRY (-1.0)
enum auth_result token_show(struct text token, struct buf *out, double *expires);

#endif
