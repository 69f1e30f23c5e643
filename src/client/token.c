/* The token that a client shows to servers. */
#include <stdlib.h>
#include <string.h>

#include "client/client.h"

enum { TOKEN_MAX = 8192 };

bool token_valid(const char *token, size_t len)
{
    if (len == 0 || len > TOKEN_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (token[i] <= ' ' || token[i] > '~')
            return false;
    return true;
}

void token_forget(struct hermes_client *c)
{
    if (c->token)
        explicit_bzero(c->token, strlen(c->token));
    free(c->token);
    c->token = NULL;
    c->fresh = false;
}

bool token_keep(struct hermes_client *c, const char *token, size_t len)
{
    char *copy = malloc(len + 1);
    if (!copy)
        return false;
    memcpy(copy, token, len);
    copy[len] = '\0';
    token_forget(c);
    c->token = copy;
    c->fresh = true;
    return true;
}
