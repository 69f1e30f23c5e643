/* Lists of origins, and origins looked up in them. The first line of the input is the list, the
 * rest the origin. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/origins.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

/* Whoever is allowed by an entry alone is allowed by the list, and the other way round. */
static void look_at(const struct origins *o, struct text origin)
{
    bool any = o->all || (o->null && text_equal(origin, TEXT("null")));
    for (size_t i = 0; i < o->count; i++) {
        const struct origins one = {.entries = &o->entries[i], .count = 1};
        any |= origins_allow(&one, origin);
    }
    must(origins_allow(o, origin) == any);
    must(origins_allow(o, (struct text){NULL, 0}));
    if (any && !o->all) {
        /* Only what a browser may write: no path, no user, no space. */
        for (size_t i = 0; i < origin.len; i++)
            must((unsigned char)origin.at[i] > ' ' && !memchr("@?#,*\\", origin.at[i], 6));
        struct text behind = origin;
        const char *mark = memmem(origin.at, origin.len, "://", 3);
        if (mark)
            behind = (struct text){mark + 3, origin.len - (size_t)(mark - origin.at) - 3};
        must(!memchr(behind.at, '/', behind.len));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1);
    must(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = '\0';
    char *end = memchr(copy, '\n', size);
    struct text origin = {copy, 0};
    if (end) {
        *end = '\0';
        origin = (struct text){end + 1, size - (size_t)(end - copy) - 1};
    }
    struct origins o;
    struct text wrong = {NULL, 0};
    enum origins_fault fault = origins_parse(&o, copy, &wrong);
    if (fault == ORIGINS_INVALID)
        must(wrong.at >= copy && wrong.at + wrong.len <= copy + strlen(copy));
    if (fault == ORIGINS_OK) {
        look_at(&o, origin);
        origins_fini(&o);
    }
    free(copy);
    return 0;
}
