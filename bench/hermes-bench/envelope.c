#include "envelope.h"

#include <hermes/protocol.h>
#include <string.h>

static const char TYPE[] = "{\"type\":\"" HERMES_TYPE_MESSAGE "\",";
static const char TOPIC[] = "\"topic\":\"";
static const char DATA[] = "\",\"data\":";
static const char OFFSET[] = ",\"offset\":";
enum {
    TYPE_LEN = sizeof TYPE - 1,
    TOPIC_LEN = sizeof TOPIC - 1,
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

enum envelope_verdict envelope_read(const char *text, size_t len, struct envelope *out)
{
    const char *end = text + len, *at = text + TYPE_LEN;
    if (len < TYPE_LEN || memcmp(text, TYPE, TYPE_LEN) != 0)
        return ENVELOPE_OTHER;
    if (end - at < TOPIC_LEN || memcmp(at, TOPIC, TOPIC_LEN) != 0)
        return ENVELOPE_TORN;
    out->topic = at + TOPIC_LEN;
    at = memchr(out->topic, '"', (size_t)(end - out->topic));
    if (!at || end - at <= DATA_LEN || memcmp(at, DATA, DATA_LEN) != 0)
        return ENVELOPE_TORN;
    out->topic_len = (size_t)(at - out->topic);
    out->data = at + DATA_LEN;
    at = read_offset(out->data, end, &out->offset);
    if (!at || out->offset == 0)
        return ENVELOPE_TORN;
    out->data_len = (size_t)(at - out->data);
    return ENVELOPE_GOOD;
}
