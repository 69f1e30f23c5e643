/* PROXY headers: what is said of the first bytes must hold for all of them, and a header must end
 * where it says, however it is cut. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/proxy_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static enum proxy_result read_prefix(
    const uint8_t *data, size_t len, struct endpoint *source, size_t *used)
{
    char *copy = malloc(len ? len : 1);
    must(copy != NULL);
    if (len > 0)
        memcpy(copy, data, len);
    enum proxy_result result = proxy_head_read(source, copy, len, used);
    free(copy);
    return result;
}

static void look_at(const uint8_t *data, const struct endpoint *source, size_t used)
{
    char out[ENDPOINT_TEXT_MAX];
    struct endpoint again;
    if (data[0] == 'P')
        must(used <= PROXY_HEAD_V1_MAX && memcmp(data + used - 2, "\r\n", 2) == 0);
    else
        must(used >= 16 && used == 16 + ((size_t)data[14] << 8 | data[15]));
    endpoint_text(source, out);
    if (ip_is_known(&source->ip))
        must(endpoint_parse(&again, text_of(out)) && memcmp(&again.ip, &source->ip, 16) == 0 &&
             again.port == source->port);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct endpoint source;
    size_t used = 0;
    enum proxy_result whole = read_prefix(data, size, &source, &used);
    must(whole != PROXY_MORE || size < PROXY_HEAD_MAX);
    must(whole != PROXY_DONE || (used <= size && used <= PROXY_HEAD_MAX));
    if (whole == PROXY_DONE)
        look_at(data, &source, used);

    enum proxy_result before = PROXY_MORE;
    size_t most = size < 300 ? size : 300;
    for (size_t len = 0; len <= most; len++) {
        struct endpoint part_source;
        size_t part_used = 0;
        enum proxy_result part = read_prefix(data, len, &part_source, &part_used);
        must(before == PROXY_MORE || part == before);
        must(part == PROXY_MORE || part == whole);
        must(part != PROXY_DONE ||
             (part_used == used && len >= used && memcmp(&part_source.ip, &source.ip, 16) == 0));
        must(part == PROXY_DONE || whole != PROXY_DONE || len < used);
        before = part;
    }
    return 0;
}
