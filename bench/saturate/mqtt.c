/* MQTT 3.1.1 at quality of service 0, as much of it as a generator needs. */
#include "dialect.h"

#include <string.h>

enum { CONNECT = 0x10, CONNACK = 0x20, PUBLISH = 0x30, SUBSCRIBE = 0x82, SUBACK = 0x90 };

static size_t length_put(unsigned char *to, size_t len)
{
    size_t at = 0;
    for (; len >= 128; len >>= 7)
        to[at++] = (unsigned char)(len | 128);
    to[at++] = (unsigned char)len;
    return at;
}

static size_t text_put(unsigned char *to, const char *text)
{
    size_t len = strlen(text);
    to[0] = (unsigned char)(len >> 8);
    to[1] = (unsigned char)len;
    memcpy(to + 2, text, len);
    return len + 2;
}

static size_t mqtt_hello(unsigned char *to)
{
    /* level 4, a clean session, no keepalive, a client id of the server's choice */
    static const unsigned char connect[] = {
        CONNECT, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 0};
    memcpy(to, connect, sizeof connect);
    return sizeof connect;
}

static size_t mqtt_subscribe(
    unsigned char *to, const char *const *topics, uint32_t count, uint32_t *used)
{
    size_t at = 0, len = 2;
    for (uint32_t i = 0; i < count; i++)
        len += 2 + strlen(topics[i]) + 1;
    to[at++] = SUBSCRIBE;
    at += length_put(to + at, len);
    to[at++] = 0;
    to[at++] = 1; /* packet id */
    for (uint32_t i = 0; i < count; i++) {
        at += text_put(to + at, topics[i]);
        to[at++] = 0; /* quality of service */
    }
    *used = count;
    return at;
}

static size_t mqtt_publish(unsigned char *to, const char *topic, const char *payload, size_t len)
{
    size_t at = 0;
    to[at++] = PUBLISH;
    at += length_put(to + at, strlen(topic) + 2 + len);
    at += text_put(to + at, topic);
    memcpy(to + at, payload, len);
    return at + len;
}

static bool mqtt_item(const unsigned char *b, size_t have, struct item *item)
{
    size_t len = 0, at = 1;
    for (unsigned shift = 0; shift < 28; shift += 7) {
        if (at >= have)
            return false;
        len |= (size_t)(b[at] & 127) << shift;
        if (!(b[at++] & 128))
            break;
    }
    if (have - at < len)
        return false;
    *item = (struct item){.kind = ITEM_OTHER, .size = at + len};
    if ((b[0] & 0xf0) == PUBLISH && len >= 2) {
        size_t topic = ((size_t)b[at] << 8 | b[at + 1]) + 2;
        item->kind = (b[0] & 6) || topic > len ? ITEM_WRONG : ITEM_DELIVERY;
        item->payload = b + at + topic;
        item->len = len - topic;
    } else if (b[0] == CONNACK) {
        item->kind = len == 2 && !b[at + 1] ? ITEM_GREETING : ITEM_WRONG;
    } else if (b[0] == SUBACK) {
        item->kind = len > 2 && !memchr(b + at + 2, 0x80, len - 2) ? ITEM_ACK : ITEM_WRONG;
    }
    return true;
}

const struct dialect dialect_mqtt = {
    .name = "mqtt",
    .protocol = "mqtt",
    .opcode = 2,
    .stream = true,
    .greets = true,
    .hello = mqtt_hello,
    .subscribe = mqtt_subscribe,
    .publish = mqtt_publish,
    .item = mqtt_item,
};
