#include "session/carried.h"

#include <string.h>
#include <strings.h>

static void carry(struct carried *c, struct text token)
{
    c->count++;
    c->token = token;
}

static void carry_authorization(struct carried *c, struct text value)
{
    static const char scheme[] = "Bearer";
    size_t len = sizeof scheme - 1;
    if (value.len < len || strncasecmp(value.at, scheme, len) != 0 ||
        (value.len > len && value.at[len] != ' '))
        return;
    while (len < value.len && value.at[len] == ' ')
        len++;
    carry(c, (struct text){value.at + len, value.len - len});
}

static void carry_subprotocol(struct carried *c, struct text list)
{
    struct text offer;
    struct text prefix = TEXT("token.");
    while (http_list_next(&list, &offer))
        if (text_starts_with(offer, prefix))
            carry(c, (struct text){offer.at + prefix.len, offer.len - prefix.len});
}

static int hex(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* What is no escape stays as it is, and makes a token that nobody can read. */
static struct text decode(char *out, struct text value)
{
    size_t len = 0;
    for (size_t i = 0; i < value.len; i++) {
        char byte = value.at[i];
        if (byte == '%' && value.len - i > 2 && hex(value.at[i + 1]) >= 0 &&
            hex(value.at[i + 2]) >= 0) {
            byte = (char)(hex(value.at[i + 1]) << 4 | hex(value.at[i + 2]));
            i += 2;
        }
        out[len++] = byte;
    }
    return (struct text){out, len};
}

static void carry_query(struct carried *c, struct text query)
{
    struct text name = TEXT("token=");
    while (query.len > 0) {
        const char *end = memchr(query.at, '&', query.len);
        size_t len = end ? (size_t)(end - query.at) : query.len;
        struct text field = {query.at, len};
        if (text_starts_with(field, name))
            carry(c, decode(c->decoded, (struct text){field.at + name.len, len - name.len}));
        len += end != NULL;
        query = (struct text){query.at + len, query.len - len};
    }
}

void carried_find(struct carried *c, const struct http_head *head)
{
    c->count = 0;
    for (size_t i = 0; i < head->header_count; i++) {
        const struct http_header *header = &head->headers[i];
        if (http_is_named(header, "Authorization"))
            carry_authorization(c, header->value);
        else if (http_is_named(header, "Sec-WebSocket-Protocol"))
            carry_subprotocol(c, header->value);
    }
    carry_query(c, head->query);
}
