#include "net/proxy_head.h"

#include <string.h>

enum { V2_FIXED = 16 };

static const char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* Whether as much of it as has come is right. */
static bool begins(const char *bytes, size_t len, const char *wanted, size_t wanted_len)
{
    return memcmp(bytes, wanted, len < wanted_len ? len : wanted_len) == 0;
}

/* --- version 1 -------------------------------------------------------------------------------- */

/* Takes what stands before the next space. */
static struct text field(struct text *rest)
{
    const char *space = rest->len > 0 ? memchr(rest->at, ' ', rest->len) : NULL;
    struct text out = {rest->at, space ? (size_t)(space - rest->at) : rest->len};
    size_t taken = space ? out.len + 1 : out.len;
    *rest = (struct text){rest->at + taken, rest->len - taken};
    return out;
}

/* Source, destination and their ports. The last field holds whatever spaces are too many, which is
 * no port then. */
static bool v1_addresses(struct endpoint *source, struct text rest, int family)
{
    struct endpoint destination;
    struct text from = field(&rest);
    struct text to = field(&rest);
    struct text from_port = field(&rest);
    return ip_parse_family(&source->ip, from, family) &&
           ip_parse_family(&destination.ip, to, family) && port_parse(&source->port, from_port) &&
           port_parse(&destination.port, rest);
}

/* What may stand in a line with addresses. */
static bool is_plain(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == '.' ||
           c == ':' || c == ' ';
}

static enum proxy_result read_v1(
    struct endpoint *source, const char *bytes, size_t len, size_t *used)
{
    static const struct {
        struct text start;
        int family;
    } kinds[] = {
        {{"PROXY TCP4 ", 11}, AF_INET},
        {{"PROXY TCP6 ", 11}, AF_INET6},
        {{"PROXY UNKNOWN", 13}, AF_UNSPEC},
    };
    size_t kind = 0;
    while (kind < 3 && !begins(bytes, len, kinds[kind].start.at, kinds[kind].start.len))
        kind++;
    if (kind == 3)
        return PROXY_BAD;
    struct text start = kinds[kind].start;
    if (len <= start.len)
        return PROXY_MORE;
    bool addresses = kinds[kind].family != AF_UNSPEC;
    if (!addresses && bytes[start.len] != ' ' && bytes[start.len] != '\r')
        return PROXY_BAD;

    size_t at = start.len;
    size_t end = len < PROXY_HEAD_V1_MAX - 1 ? len : PROXY_HEAD_V1_MAX - 1;
    while (at < end && bytes[at] != '\r') {
        if (addresses ? !is_plain(bytes[at]) : bytes[at] == '\n')
            return PROXY_BAD;
        at++;
    }
    if (at == end)
        return len < PROXY_HEAD_V1_MAX - 1 ? PROXY_MORE : PROXY_BAD;
    /* The line is whole but for its LF: faults need not wait for that. */
    *source = (struct endpoint){0};
    if (addresses &&
        !v1_addresses(source, (struct text){bytes + start.len, at - start.len}, kinds[kind].family))
        return PROXY_BAD;
    if (at + 1 == len)
        return PROXY_MORE;
    *used = at + 2;
    return bytes[at + 1] == '\n' ? PROXY_DONE : PROXY_BAD;
}

/* --- version 2 -------------------------------------------------------------------------------- */

/* How long the addresses of a family and protocol are; -1: there is no such one. */
static int v2_addresses(uint8_t family)
{
    switch (family) {
    case 0x00:
        return 0;
    case 0x11:
    case 0x12:
        return 12;
    case 0x21:
    case 0x22:
        return 36;
    case 0x31:
    case 0x32:
        return 216;
    default:
        return -1;
    }
}

static void v2_source(struct endpoint *source, const char *bytes, uint8_t family)
{
    const uint8_t *at = (const uint8_t *)bytes;
    *source = (struct endpoint){0};
    if (family >> 4 == 1) {
        source->ip.bytes[10] = source->ip.bytes[11] = 0xff;
        memcpy(source->ip.bytes + 12, at, 4);
        source->port = (uint16_t)(at[8] << 8 | at[9]);
    } else if (family >> 4 == 2) {
        memcpy(source->ip.bytes, at, 16);
        source->port = (uint16_t)(at[32] << 8 | at[33]);
    }
}

static enum proxy_result read_v2(
    struct endpoint *source, const char *bytes, size_t len, size_t *used)
{
    const uint8_t *at = (const uint8_t *)bytes;
    if (!begins(bytes, len, v2_signature, sizeof v2_signature))
        return PROXY_BAD;
    if (len > 12 && at[12] != 0x20 && at[12] != 0x21)
        return PROXY_BAD;
    if (len < V2_FIXED) {
        bool family_is_bad = len > 13 && at[12] == 0x21 && v2_addresses(at[13]) < 0;
        return family_is_bad ? PROXY_BAD : PROXY_MORE;
    }
    bool local = at[12] == 0x20; /* its family is to be ignored, too */
    int addresses = local ? 0 : v2_addresses(at[13]);
    size_t behind = (size_t)at[14] << 8 | at[15];
    if (addresses < 0 || behind < (size_t)addresses || V2_FIXED + behind > PROXY_HEAD_V2_MAX)
        return PROXY_BAD;
    if (len < V2_FIXED + behind)
        return PROXY_MORE;
    v2_source(source, bytes + V2_FIXED, local ? 0 : at[13]);
    *used = V2_FIXED + behind;
    return PROXY_DONE;
}

enum proxy_result proxy_head_read(
    struct endpoint *source, const char *bytes, size_t len, size_t *used)
{
    if (len == 0)
        return PROXY_MORE;
    return bytes[0] == 'P' ? read_v1(source, bytes, len, used) : read_v2(source, bytes, len, used);
}
