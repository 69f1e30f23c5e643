/* Hermes's own level 1: JSON texts, one to a frame. See include/hermes/protocol.h. */
#include "dialect.h"

#include <hermes/protocol.h>
#include <stdio.h>
#include <string.h>

#define TYPE "{\"type\":"

static bool is(const unsigned char *b, size_t have, const char *type)
{
    size_t len = strlen(type);
    return have > len + 2 && b[0] == '"' && b[len + 1] == '"' && memcmp(b + 1, type, len) == 0;
}

size_t level1_subscribe(
    unsigned char *to, const char *const *topics, uint32_t count, uint32_t *used)
{
    (void)count;
    *used = 1;
    return (size_t)sprintf(
        (char *)to, TYPE "\"" HERMES_TYPE_SUBSCRIBE "\",\"topic\":\"%s\"}", topics[0]);
}

size_t level1_publish(unsigned char *to, const char *topic, const char *payload, size_t len)
{
    size_t at = (size_t)sprintf((char *)to, "{\"topic\":\"%s\",\"data\":", topic);
    memcpy(to + at, payload, len);
    to[at + len] = '}';
    return at + len + 1;
}

bool level1_item(const unsigned char *b, size_t have, struct item *item)
{
    *item = (struct item){.kind = ITEM_DELIVERY, .payload = b, .len = have, .size = have};
    if (have < sizeof TYPE || memcmp(b, TYPE, sizeof TYPE - 1) != 0)
        return true;
    b += sizeof TYPE - 1;
    have -= sizeof TYPE - 1;
    if (*b == ' ') { /* as Python writes it */
        b++;
        have--;
    }
    if (is(b, have, HERMES_TYPE_INFO))
        item->kind = ITEM_GREETING;
    else if (is(b, have, HERMES_TYPE_ACK_SUBSCRIBE))
        item->kind = ITEM_ACK;
    else if (is(b, have, HERMES_TYPE_ERROR))
        item->kind = ITEM_WRONG;
    return true;
}

const struct dialect dialect_level1 = {
    .name = "level1",
    .opcode = 1,
    .greets = true,
    .subscribe = level1_subscribe,
    .publish = level1_publish,
    .item = level1_item,
};
