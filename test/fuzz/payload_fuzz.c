/* What comes through Redis' channels: nothing is read past its end, and what is taken for good
 * frames can be taken apart as such. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/message.h"
#include "cluster/payload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct payload p;
    char *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    if (size > 0)
        memcpy(copy, data, size);
    if (payload_read((struct text){copy, size}, &p)) {
        const char *at = p.frames.at;
        uint32_t frames = p.count ? p.count : 1;
        for (uint32_t i = 0; i < frames; i++) {
            struct text text;
            at = message_frame(at, &text);
            if (at != text.at + text.len || at > copy + size)
                abort();
        }
        if (at != copy + size || p.topic.len == 0)
            abort();
    }
    free(copy);
    return 0;
}
