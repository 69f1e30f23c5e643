/* What clients send: a handshake, then masked frames.
 *
 * Commands are taken by their fixed beginnings, {"topic":"..","data": and {"type":"subscribe" and
 * so on, exactly as the generators and the client library write them. */
#define _GNU_SOURCE
#include "floor.h"

#include <hermes/protocol.h>
#include <mbedtls/base64.h>
#include <mbedtls/sha1.h>
#include <mbedtls/version.h>

#if MBEDTLS_VERSION_MAJOR < 3
#define mbedtls_sha1 mbedtls_sha1_ret
#endif

enum { START_BYTES = 64, NAME_BYTES = HERMES_MAX_TOPIC_BYTES, TEXT_BYTES = NAME_BYTES + 128 };

#define SAME(bytes, text) (memcmp(bytes, text, sizeof(text) - 1) == 0)
#define PUBLISH "{\"topic\":\""
#define DATA "\",\"data\":"
#define SUBSCRIBE "{\"type\":\"" HERMES_TYPE_SUBSCRIBE "\",\"topic\":\""
#define UNSUBSCRIBE "{\"type\":\"" HERMES_TYPE_UNSUBSCRIBE "\",\"topic\":\""

static size_t text_put(unsigned char *to, const char *text)
{
    size_t len = strlen(text);
    memcpy(to, text, len);
    return len;
}

bool peer_greet(struct floor *f, struct peer *p, const char *head, size_t len)
{
    static const char info[] = "{\"type\":\"" HERMES_TYPE_INFO
                               "\",\"message\":\"" HERMES_TEXT_INFO_START " This is the floor.\"}";
    static const char name[] = "\r\nSec-WebSocket-Key:",
                      guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[24 + sizeof guid];
    unsigned char digest[20], out[512];
    size_t at, accept_len;
    const char *key = memmem(head, len, name, sizeof name - 1);

    for (size_t i = 0; !key && i + sizeof name < len; i++)
        if (strncasecmp(head + i, name, sizeof name - 1) == 0)
            key = head + i;
    if (!key)
        return false;
    for (key += sizeof name - 1; key < head + len && *key == ' '; key++)
        ;
    if (head + len - key < 24)
        return false;
    memcpy(text, key, 24);
    memcpy(text + 24, guid, sizeof guid - 1);
    mbedtls_sha1((const unsigned char *)text, sizeof text - 1, digest);
    at = text_put(out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Accept: ");
    mbedtls_base64_encode(out + at, 29, &accept_len, digest, sizeof digest);
    at += accept_len;
    at += text_put(out + at, "\r\n\r\n");
    _Static_assert(sizeof info - 1 < 126, "a short frame");
    out[at++] = 0x81;
    out[at++] = sizeof info - 1;
    at += text_put(out + at, info);
    peer_send(f, p, out, at);
    p->upgraded = true;
    return true;
}

static void peer_answer(struct floor *f, struct peer *p, const char *type, const char *text,
    const unsigned char *name, size_t len)
{
    unsigned char out[2 * NAME_BYTES + 256];
    size_t at = 4;
    at += text_put(out + at, "{\"type\":\"");
    at += text_put(out + at, type);
    at += text_put(out + at, "\",\"topic\":\"");
    memcpy(out + at, name, len);
    at += len;
    at += text_put(out + at, "\",\"message\":\"");
    at += text_put(out + at, text);
    memcpy(out + at, name, len);
    at += len;
    at += text_put(out + at, "\"}");
    if (at - 4 < 126) {
        out[2] = 0x81;
        out[3] = (unsigned char)(at - 4);
        peer_send(f, p, out + 2, at - 2);
    } else {
        out[0] = 0x81;
        out[1] = 126;
        out[2] = (unsigned char)((at - 4) >> 8);
        out[3] = (unsigned char)(at - 4);
        peer_send(f, p, out, at);
    }
}

static void peer_text(struct floor *f, struct peer *p, const unsigned char *payload, size_t len,
    const unsigned char mask[4])
{
    unsigned char start[TEXT_BYTES];
    size_t start_len = len < START_BYTES ? len : START_BYTES, before;

    if (start_len < START_BYTES)
        memset(start + start_len, 0, START_BYTES - start_len);
    unmask(start, payload, start_len, 0, mask);
    if (SAME(start, PUBLISH))
        before = sizeof PUBLISH - 1;
    else if (SAME(start, SUBSCRIBE))
        before = sizeof SUBSCRIBE - 1;
    else if (SAME(start, UNSUBSCRIBE))
        before = sizeof UNSUBSCRIBE - 1;
    else
        return;
    const unsigned char *name = start + before, *end = memchr(name, '"', start_len - before);
    if (!end || end + sizeof DATA > start + start_len) { /* a long name: all that may be one */
        start_len = len < sizeof start ? len : sizeof start;
        unmask(start, payload, start_len, 0, mask);
        if (!(end = memchr(name, '"', start_len - before)))
            return;
    }
    size_t name_len = (size_t)(end - name);
    if (before == sizeof PUBLISH - 1) {
        size_t skip = before + name_len + sizeof DATA - 1;
        struct topic *topic = floor_topic(f, name, name_len);
        if (topic && topic->count && len > skip && SAME(end, DATA))
            floor_publish(f, topic, payload + skip, len - skip - 1, skip, mask);
    } else if (name_len > NAME_BYTES) {
        return;
    } else if (before == sizeof SUBSCRIBE - 1) {
        floor_subscribe(f, p, name, name_len);
        peer_answer(f, p, HERMES_TYPE_ACK_SUBSCRIBE, HERMES_TEXT_SUBSCRIBED, name, name_len);
    } else {
        floor_unsubscribe(f, p, name, name_len);
        peer_answer(f, p, HERMES_TYPE_ACK_UNSUBSCRIBE, HERMES_TEXT_UNSUBSCRIBED, name, name_len);
    }
}

ptrdiff_t peer_frame(struct floor *f, struct peer *p, const unsigned char *b, size_t have)
{
    size_t head = 6, len;
    if (have < 2)
        return 0;
    len = b[1] & 0x7f;
    if (len == 126) {
        if (have < 4)
            return 0;
        len = (size_t)b[2] << 8 | b[3];
        head = 8;
    } else if (len == 127) {
        if (have < 10)
            return 0;
        len = 0;
        for (int i = 2; i < 10; i++)
            len = len << 8 | b[i];
        head = 14;
    }
    if (have < head || have - head < len)
        return 0;
    const unsigned char *mask = b + head - 4, *payload = b + head;
    int opcode = b[0] & 0x0f;
    if (opcode == LOAD_TEXT) {
        peer_text(f, p, payload, len, mask);
    } else if ((opcode == LOAD_CLOSE || opcode == LOAD_PING) && len < 126) {
        unsigned char out[2 + 126];
        out[0] = (unsigned char)(0x80 | (opcode == LOAD_PING ? LOAD_PONG : LOAD_CLOSE));
        out[1] = (unsigned char)len;
        unmask(out + 2, payload, len, 0, mask);
        peer_send(f, p, out, len + 2);
        if (opcode == LOAD_CLOSE)
            return -1;
    }
    return (ptrdiff_t)(head + len);
}
