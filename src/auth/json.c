#include "auth/json.h"

#include <stdbool.h>
#include <stddef.h>

/* jansson goes 2048 deep, on the stack: that of a thread may be small. */
static bool nests_too_deep(struct text json)
{
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < json.len; i++) {
        char c = json.at[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '[' || c == '{') && ++depth > AUTH_JSON_DEPTH_MAX)
            return true;
        else if (!quoted && (c == ']' || c == '}') && depth > 0)
            depth--;
    }
    return false;
}

enum auth_result auth_json_read(struct text json, json_t **out)
{
    json_error_t fault;
    *out = NULL;
    if (json.len == 0 || nests_too_deep(json))
        return AUTH_MALFORMED;
    *out = json_loadb(json.at, json.len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &fault);
    if (!*out) /* below 0 is how jansson mostly tells that there is no memory */
        return fault.line < 0 ? AUTH_NO_MEMORY : AUTH_MALFORMED;
    if (json_is_object(*out))
        return AUTH_OK;
    json_decref(*out);
    *out = NULL;
    return AUTH_MALFORMED;
}
