/* A dialect: how one kind of server is spoken to, behind the WebSocket handshake.
 *
 * Texts and packets are called items here. Where a dialect is a stream, items do not keep to
 * frames: a frame may hold many, and one may begin in the next. */
#ifndef HERMES_BENCH_SATURATE_DIALECT_H
#define HERMES_BENCH_SATURATE_DIALECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TOPIC_BYTES = 24, MAX_TOPICS_EACH = 64 };

enum item_kind {
    ITEM_GREETING,
    ITEM_ACK, /* of one item that subscribes */
    ITEM_DELIVERY,
    ITEM_PING,
    ITEM_OTHER, /* to be ignored */
    ITEM_WRONG, /* such as an error */
};

struct item {
    enum item_kind kind;
    const unsigned char *payload; /* of a delivery */
    size_t len;
    size_t size;                /* of the whole item */
    const unsigned char *topic; /* of a delivery that names it; else NULL */
    size_t topic_len;
    uint64_t offset; /* with a topic */
};

struct dialect {
    const char *name;
    const char *protocol; /* asked for in the handshake, or NULL */
    int opcode;           /* of frames with items, in both directions */
    bool stream;
    bool greets;                /* an ITEM_GREETING comes first */
    bool one_topic_a_publisher; /* which its path names */
    bool publishers_are_answered;
    const char *pong; /* the answer to ITEM_PING */

    /* The path of a subscriber and of a publisher; NULL: "/". */
    void (*path)(char *to, size_t size, const char *role, const char *topic);
    /* All three return the bytes put. NULL: there is no such item (a path subscribes by itself).
     * `subscribe` takes as many topics as one item can, at least one. */
    size_t (*hello)(unsigned char *to);
    size_t (*subscribe)(
        unsigned char *to, const char *const *topics, uint32_t count, uint32_t *used);
    size_t (*publish)(unsigned char *to, const char *topic, const char *payload, size_t len);
    /* Reads the item that the bytes begin with; false when it is not whole. Of dialects that are no
     * stream the bytes are one frame's. */
    bool (*item)(const unsigned char *bytes, size_t have, struct item *item);
};

/* Level 1's commands are level 2's, too. */
bool level1_item(const unsigned char *bytes, size_t have, struct item *item);
size_t level1_subscribe(
    unsigned char *to, const char *const *topics, uint32_t count, uint32_t *used);
size_t level1_publish(unsigned char *to, const char *topic, const char *payload, size_t len);

extern const struct dialect dialect_level1, dialect_level2, dialect_nchan, dialect_mqtt,
    dialect_nats;

#endif
