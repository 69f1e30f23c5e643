/* Lists of networks, and X-Forwarded-For read by them. The first line of the input is the list, the
 * second the peer, the others are headers. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/forwarded.h"

enum { LINES_MAX = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static struct text take_line(struct text *rest)
{
    const char *end = rest->len > 0 ? memchr(rest->at, '\n', rest->len) : NULL;
    struct text line = {rest->at, end ? (size_t)(end - rest->at) : rest->len};
    size_t taken = end ? line.len + 1 : line.len;
    *rest = (struct text){rest->at + taken, rest->len - taken};
    return line;
}

static void look_at(const struct cidr_list *list, struct endpoint peer, struct text rest)
{
    struct text lines[LINES_MAX];
    size_t count = 0;
    char out[ENDPOINT_TEXT_MAX];
    while (rest.len > 0 && count < LINES_MAX)
        lines[count++] = take_line(&rest);
    struct endpoint client = forwarded_client(list, peer, lines, count);
    bool same = memcmp(&client.ip, &peer.ip, 16) == 0 && client.port == peer.port;
    must(strlen(endpoint_text(&client, out)) < sizeof out);
    must(same || (cidr_has(list, &peer.ip) && ip_is_known(&client.ip)));
    /* What a stranger puts in front changes nothing once somebody is found that is not trusted. */
    if (count > 0 && count < LINES_MAX && !same && !cidr_has(list, &client.ip)) {
        memmove(lines + 1, lines, count * sizeof *lines);
        lines[0] = TEXT("6.6.6.6, garbage");
        struct endpoint again = forwarded_client(list, peer, lines, count + 1);
        must(memcmp(&again.ip, &client.ip, 16) == 0 && again.port == client.port);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1);
    must(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = '\0';
    struct text rest = {copy, size};
    struct text first = take_line(&rest);
    copy[first.len] = '\0';
    struct cidr_list list;
    struct text wrong = {NULL, 0};
    struct endpoint peer = {0};
    struct text second = take_line(&rest);
    if (!endpoint_parse(&peer, second))
        peer = (struct endpoint){0};
    enum cidr_fault fault = cidr_parse(&list, copy, &wrong);
    if (fault == CIDR_INVALID) {
        must(wrong.at >= copy && wrong.at + wrong.len <= copy + first.len);
    } else if (fault == CIDR_OK) {
        for (size_t i = 0; i < list.count; i++)
            must(cidr_has(&list, &list.entries[i].ip) || !ip_is_known(&list.entries[i].ip));
        look_at(&list, peer, rest);
        cidr_fini(&list);
    }
    free(copy);
    return 0;
}
