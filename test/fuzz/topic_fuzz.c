/* Topic names: every answer is checked against the code points themselves. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/topic_name.h"

enum { LIMIT = 40 };

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

/* Reads one character; its length, or 0 where none is. */
static size_t read_character(const uint8_t *b, size_t len, uint32_t *c)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = b[0] < 0x80             ? 1
                  : (b[0] & 0xE0) == 0xC0 ? 2
                  : (b[0] & 0xF0) == 0xE0 ? 3
                  : (b[0] & 0xF8) == 0xF0 ? 4
                                          : 0;
    if (size == 0 || size > len)
        return 0;
    *c = size == 1 ? b[0] : b[0] & (0x7Fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((b[i] & 0xC0) != 0x80)
            return 0;
        *c = *c << 6 | (b[i] & 0x3F);
    }
    return *c < least[size] || *c > 0x10FFFF || (*c >= 0xD800 && *c <= 0xDFFF) ? 0 : size;
}

static const char *expected(const uint8_t *b, size_t len, size_t max)
{
    bool control = false;
    if (len == 0)
        return "Topic is empty.";
    if (max && len > max)
        return "Topic is longer than the limit.";
    for (size_t at = 0; at < len;) {
        uint32_t c;
        size_t size = read_character(b + at, len - at, &c);
        if (size == 0)
            return "Topic is not UTF-8.";
        control = control || c < 0x20 || (c >= 0x7F && c <= 0x9F);
        at += size;
    }
    return control ? "Topic contains control characters." : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *name = malloc(size ? size : 1);
    MUST(name);
    if (size)
        memcpy(name, data, size);
    for (size_t max = 0; max <= LIMIT; max += LIMIT) {
        const char *fault = topic_name_fault((struct text){name, size}, max);
        const char *should = expected(data, size, max);
        MUST(!fault == !should);
        MUST(!fault || strcmp(fault, should) == 0);
    }
    free(name);
    return 0;
}
