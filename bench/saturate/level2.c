/* Hermes's level 2: level 1's commands, and every delivery in an envelope that names its topic and
 * its number there. The envelope is read where Hermes puts its parts: a generator that takes any
 * order of keys would cost more than the server it measures. */
#include "dialect.h"

#include <hermes/protocol.h>
#include <string.h>

#define HEAD "{\"type\":\"" HERMES_TYPE_MESSAGE "\",\"topic\":\""
#define DATA "\",\"data\":"
#define OFFSET ",\"offset\":"

enum { HEAD_LEN = sizeof HEAD - 1, DATA_LEN = sizeof DATA - 1, OFFSET_LEN = sizeof OFFSET - 1 };

/* What has no envelope is no delivery here. */
static bool answer(const unsigned char *b, size_t have, struct item *item)
{
    level1_item(b, have, item);
    if (item->kind == ITEM_DELIVERY)
        item->kind = ITEM_WRONG;
    return true;
}

static bool level2_item(const unsigned char *b, size_t have, struct item *item)
{
    if (have < HEAD_LEN + DATA_LEN + OFFSET_LEN + 4 || memcmp(b, HEAD, HEAD_LEN) != 0)
        return answer(b, have, item);
    const unsigned char *topic = b + HEAD_LEN, *end = b + have - 1;
    const unsigned char *quote = memchr(topic, '"', (size_t)(end - topic)), *digit = end;
    uint64_t offset = 0, unit = 1;
    *item = (struct item){.kind = ITEM_WRONG, .size = have};
    if (!quote || end - quote < DATA_LEN + OFFSET_LEN || memcmp(quote, DATA, DATA_LEN) != 0)
        return true;
    for (; (unsigned)digit[-1] - '0' < 10u; unit *= 10)
        offset += (uint64_t)(*--digit - '0') * unit;
    const unsigned char *data = quote + DATA_LEN, *behind = digit - OFFSET_LEN;
    if (*end != '}' || digit == end || behind <= data || memcmp(behind, OFFSET, OFFSET_LEN) != 0)
        return true;
    *item = (struct item){
        ITEM_DELIVERY, data, (size_t)(behind - data), have, topic, (size_t)(quote - topic), offset};
    return true;
}

const struct dialect dialect_level2 = {
    .name = "level2",
    .protocol = HERMES_PROTOCOL_V2,
    .opcode = 1,
    .greets = true,
    .subscribe = level1_subscribe,
    .publish = level1_publish,
    .item = level2_item,
};
