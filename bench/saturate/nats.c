/* The NATS client protocol. A subscription has no answer there: a PING behind it has one. */
#define _GNU_SOURCE
#include "dialect.h"

#include <stdio.h>
#include <string.h>

#define STARTS(text) (memcmp(b, text, sizeof(text) - 1) == 0)

static size_t nats_hello(unsigned char *to)
{
    return (size_t)sprintf((char *)to, "CONNECT {\"verbose\":false,\"pedantic\":false,"
                                       "\"lang\":\"c\",\"version\":\"0\",\"protocol\":1}\r\n");
}

/* A subscription needs an id of its own: the number at the end of its topic. */
static size_t nats_subscribe(
    unsigned char *to, const char *const *topics, uint32_t count, uint32_t *used)
{
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++)
        at += (size_t)sprintf(
            (char *)to + at, "SUB %s %s\r\n", topics[i], strrchr(topics[i], '-') + 1);
    *used = count;
    return at + (size_t)sprintf((char *)to + at, "PING\r\n");
}

static size_t nats_publish(unsigned char *to, const char *topic, const char *payload, size_t len)
{
    size_t at = (size_t)sprintf((char *)to, "PUB %s %zu\r\n", topic, len);
    memcpy(to + at, payload, len);
    memcpy(to + at + len, "\r\n", 2);
    return at + len + 2;
}

static bool nats_item(const unsigned char *b, size_t have, struct item *item)
{
    const unsigned char *end = have >= 5 ? memchr(b, '\n', have) : NULL;
    if (!end)
        return false;
    size_t line = (size_t)(end + 1 - b), len = 0, scale = 1;
    *item = (struct item){.kind = ITEM_OTHER, .size = line};
    if (STARTS("MSG ")) {
        for (const unsigned char *c = end - 2; *c >= '0' && *c <= '9'; c--, scale *= 10)
            len += (size_t)(*c - '0') * scale;
        if (have < line + len + 2)
            return false;
        *item = (struct item){
            .kind = ITEM_DELIVERY, .payload = b + line, .len = len, .size = line + len + 2};
    } else if (STARTS("INFO ")) {
        item->kind = ITEM_GREETING;
    } else if (STARTS("PONG")) {
        item->kind = ITEM_ACK;
    } else if (STARTS("PING")) {
        item->kind = ITEM_PING;
    } else if (STARTS("-ERR")) {
        item->kind = ITEM_WRONG;
    }
    return true;
}

const struct dialect dialect_nats = {
    .name = "nats",
    .opcode = 2,
    .stream = true,
    .greets = true,
    .pong = "PONG\r\n",
    .hello = nats_hello,
    .subscribe = nats_subscribe,
    .publish = nats_publish,
    .item = nats_item,
};
