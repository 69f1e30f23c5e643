/* What came of looking at a token. */
#ifndef HERMES_AUTH_RESULT_H
#define HERMES_AUTH_RESULT_H

/* AUTH_RESULT(name, word, text): `word` is for logs and metrics, `text` for whoever sent the token
 * and says nothing that he could not know. */
#define AUTH_RESULTS(AUTH_RESULT)                                                                  \
    AUTH_RESULT(AUTH_OK, "ok", "The token holds.")                                                 \
    AUTH_RESULT(AUTH_MALFORMED, "malformed", "This is no token that can be read.")                 \
    AUTH_RESULT(AUTH_NO_KEY, "no_key", "The token's algorithm or key is not accepted here.")       \
    AUTH_RESULT(AUTH_BAD_SIGNATURE, "bad_signature", "The token's signature does not hold.")       \
    AUTH_RESULT(AUTH_BAD_CLAIMS, "bad_claims", "The token's claims are not of the expected form.") \
    AUTH_RESULT(AUTH_EXPIRED, "expired", "The token has expired.")                                 \
    AUTH_RESULT(AUTH_NOT_YET, "not_yet", "The token does not hold yet.")                           \
    AUTH_RESULT(AUTH_WRONG_ISSUER, "wrong_issuer", "The token is of another issuer.")              \
    AUTH_RESULT(AUTH_WRONG_AUDIENCE, "wrong_audience", "The token is for another audience.")       \
    AUTH_RESULT(AUTH_DENIED, "denied", "The token has been revoked.")                              \
    AUTH_RESULT(AUTH_NO_MEMORY, "no_memory", "The server is out of memory.")

enum auth_result {
#define AUTH_RESULT_NAME(name, word, text) name,
    AUTH_RESULTS(AUTH_RESULT_NAME)
#undef AUTH_RESULT_NAME
        AUTH_RESULT_COUNT
};

const char *auth_result_word(enum auth_result result);
const char *auth_result_text(enum auth_result result);

#endif
