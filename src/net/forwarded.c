#include "net/forwarded.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* Takes the last element, without the space around it, from a comma-separated list; false when the
 * list is used up. */
static bool take_last(struct text *list, struct text *element)
{
    if (!list->at)
        return false;
    size_t start = list->len;
    while (start > 0 && list->at[start - 1] != ',')
        start--;
    struct text e = {list->at + start, list->len - start};
    *list = start > 0 ? (struct text){list->at, start - 1} : (struct text){NULL, 0};
    while (e.len > 0 && is_space(e.at[e.len - 1]))
        e.len--;
    while (e.len > 0 && is_space(e.at[0]))
        e = (struct text){e.at + 1, e.len - 1};
    *element = e;
    return true;
}

struct endpoint forwarded_client(
    const struct cidr_list *trusted, struct endpoint peer, const struct text *lines, size_t count)
{
    struct endpoint client = peer;
    for (size_t i = count; i > 0; i--) {
        struct text list = lines[i - 1];
        struct text element;
        while (cidr_has(trusted, &client.ip) && take_last(&list, &element)) {
            if (element.len == 0)
                continue; /* RFC 9110 5.6.1: empty elements are to be borne */
            if (!endpoint_parse(&client, element) || !ip_is_known(&client.ip))
                return peer;
        }
    }
    return client;
}
