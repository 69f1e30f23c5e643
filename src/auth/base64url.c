#include "auth/base64url.h"

#include <stdint.h>

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool base64url_decode(struct text text, unsigned char *bytes, size_t *len)
{
    uint32_t bits = 0;
    unsigned count = 0; /* of bits not yet written */
    size_t at = 0;
    for (size_t i = 0; i < text.len; i++) {
        int value = value_of(text.at[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            bytes[at++] = (unsigned char)(bits >> count);
            bits &= (1u << count) - 1;
        }
    }
    *len = at;
    return count < 6 && bits == 0;
}

void base64url_append(struct buf *out, const unsigned char *bytes, size_t len)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | bytes[i];
        for (count += 8; count >= 6; count -= 6)
            buf_append_char(out, letters[bits >> (count - 6) & 63]);
    }
    if (count > 0)
        buf_append_char(out, letters[bits << (6 - count) & 63]);
}
