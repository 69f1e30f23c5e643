#include "envelope.h"

#include <hermes/protocol.h>
#include <string.h>

static const char HEAD[] = "{\"type\":\"" HERMES_TYPE_MESSAGE "\",\"topic\":\"";
static const char DATA[] = "\",\"data\":";
static const char OFFSET[] = ",\"offset\":";
enum {
    HEAD_LEN = sizeof HEAD - 1,
    DATA_LEN = sizeof DATA - 1,
    OFFSET_LEN = sizeof OFFSET - 1,
    DIGITS_MOST = 19,
};

/* From the end, where nothing but the number and the brace may follow the key: the data may hold
 * whatever it likes, it is compared byte for byte later. NULL, or where the data ends. */
static const char *read_offset(const char *from, const char *end, uint64_t *offset)
{
    const char *digit = end - 1;
    uint64_t unit = 1;
    if (*digit != '}')
        return NULL;
    *offset = 0;
    while (digit > from && (unsigned)digit[-1] - '0' < 10u && end - digit <= DIGITS_MOST) {
        *offset += (uint64_t)(*--digit - '0') * unit;
        unit *= 10;
    }
    if (unit == 1 || digit - from < OFFSET_LEN ||
        memcmp(digit - OFFSET_LEN, OFFSET, OFFSET_LEN) != 0)
        return NULL;
    return digit - OFFSET_LEN;
}

bool envelope_read(const char *text, size_t len, struct envelope *out)
{
    const char *end = text + len;
    if (len < HEAD_LEN || memcmp(text, HEAD, HEAD_LEN) != 0)
        return false;
    out->topic = text + HEAD_LEN;
    const char *quote = memchr(out->topic, '"', (size_t)(end - out->topic));
    if (!quote || end - quote <= DATA_LEN || memcmp(quote, DATA, DATA_LEN) != 0)
        return false;
    out->topic_len = (size_t)(quote - out->topic);
    out->data = quote + DATA_LEN;
    const char *behind = read_offset(out->data, end, &out->offset);
    out->data_len = behind ? (size_t)(behind - out->data) : 0;
    return behind && out->offset > 0;
}
