#include "admin/assets.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/hash.h"

/* The assembler puts the files in: they cost no compile time, and no code that writes them. */
#define ASSET(name, path, file, type, kind)                                                        \
    __asm__(".pushsection .rodata\n"                                                               \
            ".balign 16\n"                                                                         \
            "hermes_asset_" #name ":\n"                                                            \
            ".incbin \"" file "\"\n"                                                               \
            "hermes_asset_" #name "_end:\n"                                                        \
            ".byte 0\n"                                                                            \
            ".popsection\n");                                                                      \
    extern const char asset_##name[] __asm__("hermes_asset_" #name);                               \
    extern const char asset_##name##_end[] __asm__("hermes_asset_" #name "_end");
#include "admin/assets.def"
#undef ASSET

/* No inline scripts or styles, nothing from elsewhere, in no frame. Sockets may be anywhere: behind
 * a forwarded port the broker is at an address that it does not know itself. */
#define POLICY                                                                                     \
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "           \
    "img-src 'self' data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; "     \
    "frame-ancestors 'none'\r\n"                                                                   \
    "Cross-Origin-Opener-Policy: same-origin\r\nCross-Origin-Resource-Policy: same-origin\r\n"

static const char *const headers[] = {
#define PAGE 0
    POLICY,
#define PART 1
    "Cross-Origin-Resource-Policy: same-origin\r\n",
#define SHARED 2
    "Access-Control-Allow-Origin: *\r\nCross-Origin-Resource-Policy: cross-origin\r\n",
};

struct asset {
    struct text path;
    const char *start;
    const char *end;
    const char *type;
    unsigned kind;
};

static const struct asset assets[] = {
#define ASSET(name, path, file, type, kind)                                                        \
    {{path, sizeof(path) - 1}, asset_##name, asset_##name##_end, type, kind},
#include "admin/assets.def"
#undef ASSET
};

const struct asset *asset_find(struct text path)
{
    for (size_t i = 0; i < sizeof assets / sizeof assets[0]; i++)
        if (text_equal(assets[i].path, path))
            return &assets[i];
    return NULL;
}

/* Whether one of the tags that the client has is this one. */
static bool has_tag(const struct http_head *head, const char *tag)
{
    for (size_t i = 0; i < head->header_count; i++) {
        struct text list = head->headers[i].value;
        struct text element;
        if (!http_is_named(&head->headers[i], "If-None-Match"))
            continue;
        while (http_list_next(&list, &element)) {
            if (text_starts_with(element, TEXT("W/")))
                element = (struct text){element.at + 2, element.len - 2};
            if (text_equal(element, text_of(tag)) || text_equal(element, TEXT("*")))
                return true;
        }
    }
    return false;
}

void asset_answer(struct exchange *x, const struct asset *asset)
{
    size_t len = (size_t)(asset->end - asset->start);
    struct hash_key key = {0};
    struct buf body = {0};
    char tag[20];
    char lines[1024];
    snprintf(tag, sizeof tag, "\"%016" PRIx64 "\"", hash_bytes(key, asset->start, len));
    snprintf(lines, sizeof lines, "ETag: %s\r\nCache-Control: no-cache\r\n%s", tag,
        headers[asset->kind]);
    if (has_tag(&x->head, tag)) {
        exchange_answer(x, 304, NULL, lines, &body);
        return;
    }
    buf_append(&body, asset->start, len);
    exchange_answer(x, 200, asset->type, lines, &body);
}
