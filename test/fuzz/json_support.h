/* What the JSON targets share. */
#ifndef HERMES_TEST_FUZZ_JSON_SUPPORT_H
#define HERMES_TEST_FUZZ_JSON_SUPPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

static inline json_t *load(const char *text, size_t len)
{
    return json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

/* How deep a text nests, if its strings and brackets are right. */
static inline size_t depth_of(const char *text, size_t len)
{
    size_t depth = 0;
    size_t deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string && (text[i] == '[' || text[i] == '{'))
            deepest = ++depth > deepest ? depth : deepest;
        else if (!in_string && depth > 0 && (text[i] == ']' || text[i] == '}'))
            depth--;
    }
    return deepest;
}

#endif
