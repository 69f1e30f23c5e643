#include "cluster/payload.h"

#include <string.h>

#include "broker/message.h"

static void write_digits(uint64_t number, char *out, size_t digits)
{
    for (size_t i = digits; i-- > 0; number >>= 4)
        out[i] = "0123456789abcdef"[number & 15];
}

void hex_write(uint64_t number, char digits[HEX_DIGITS])
{
    write_digits(number, digits, HEX_DIGITS);
}

bool hex_read(struct text digits, uint64_t *number)
{
    uint64_t n = 0;
    if (digits.len == 0 || digits.len > HEX_DIGITS)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        char c = digits.at[i];
        if (c >= '0' && c <= '9')
            n = n << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            n = n << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *number = n;
    return true;
}

void payload_head(const struct payload *p, char head[PAYLOAD_HEAD])
{
    head[0] = (char)p->kind;
    write_digits(p->count, head + 1, 8);
    write_digits(p->except, head + 9, 16);
    write_digits(p->topic.len, head + 25, 4);
}

bool payload_frames_good(struct text frames, uint32_t count)
{
    size_t at = 0;
    for (; count > 0; count--) {
        size_t left = frames.len - at;
        if (left < 2 || (unsigned char)frames.at[at] != 0x81)
            return false;
        unsigned char second = (unsigned char)frames.at[at + 1];
        size_t head = second < 126 ? 2 : second == 126 ? 4 : 10;
        if (second > 127 || left < head)
            return false;
        struct text data;
        message_frame(frames.at + at, &data);
        if (data.len > left - head)
            return false;
        at += head + data.len;
    }
    return at == frames.len;
}

/* Takes the first `len` bytes off. */
static struct text take(struct text *rest, size_t len)
{
    struct text taken = {rest->at, len};
    rest->at += len;
    rest->len -= len;
    return taken;
}

bool payload_read(struct text bytes, struct payload *p)
{
    uint64_t count;
    uint64_t topic_len;
    if (bytes.len < PAYLOAD_PLACE + PAYLOAD_HEAD)
        return false;
    if (!hex_read(take(&bytes, 16), &p->epoch) || !hex_read(take(&bytes, 16), &p->offset))
        return false;
    p->kind = (enum payload_kind)(unsigned char)*take(&bytes, 1).at;
    if (!hex_read(take(&bytes, 8), &count) || !hex_read(take(&bytes, 16), &p->except) ||
        !hex_read(take(&bytes, 4), &topic_len) || topic_len > bytes.len || topic_len == 0)
        return false;
    p->count = (uint32_t)count;
    p->topic = take(&bytes, (size_t)topic_len);
    p->frames = bytes;
    if (p->kind == PAYLOAD_EVENT)
        return count == 0 && payload_frames_good(bytes, 1);
    return p->kind == PAYLOAD_MESSAGES && count > 0 && p->epoch != 0 && p->offset > 0 &&
           p->offset <= UINT64_MAX - count && payload_frames_good(bytes, p->count);
}
