#include "auth/result.h"

static const struct {
    const char *word;
    const char *text;
} results[] = {
#define AUTH_RESULT_ROW(name, word, text) [name] = {word, text},
    AUTH_RESULTS(AUTH_RESULT_ROW)
#undef AUTH_RESULT_ROW
};

const char *auth_result_word(enum auth_result result)
{
    return results[result].word;
}

const char *auth_result_text(enum auth_result result)
{
    return results[result].text;
}
