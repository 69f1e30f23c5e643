/* What a Redis server writes: in pieces it must be read as it is whole, and no text may point
 * outside of what is there. The first two bytes choose the pieces. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "unit/cluster/resp_dump.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

/* Each piece lies in memory of its own, which is gone when the next is fed. */
static enum resp_result read_in(
    struct buf *out, const uint8_t *bytes, size_t len, size_t first, size_t piece)
{
    struct resp_in *in = resp_in_new();
    enum resp_result result = RESP_MORE;
    must(in != NULL);
    for (size_t most = first; len > 0 && result == RESP_MORE; most = piece) {
        const struct resp *answer;
        size_t part = most == 0 || len < most ? len : most;
        char *copy = malloc(part);
        must(copy != NULL);
        memcpy(copy, bytes, part);
        resp_in_feed(in, copy, part);
        while ((result = resp_in_next(in, &answer)) == RESP_DONE)
            resp_dump(out, answer);
        free(copy);
        bytes += part;
        len -= part;
    }
    must((result == RESP_BAD) == (*resp_in_fault(in) != 0));
    resp_in_free(in);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = {0};
    struct buf parts = {0};
    if (size < 2)
        return 0;
    enum resp_result result = read_in(&whole, data + 2, size - 2, 0, 0);
    must(read_in(&parts, data + 2, size - 2, data[0], data[1]) == result);
    must(parts.len == whole.len &&
         (whole.len == 0 || memcmp(parts.data, whole.data, whole.len) == 0));
    buf_fini(&whole);
    buf_fini(&parts);
    return 0;
}
