/* Connections to a server in its dialect. */
#define _GNU_SOURCE
#include "saturate.h"

#include <ctype.h>

/* What connecting sends is never longer. */
enum {
    WAVE = 256, /* connections that come about at the same time: some servers look seldom */
    ITEM_BYTES = 128 + MAX_TOPICS_EACH * (2 * TOPIC_BYTES + 8),
};

static void conn_send(const struct load *l, struct conn *c, const void *item, size_t len)
{
    unsigned char frame[ITEM_BYTES + 14];
    load_send_all(&c->rest, frame, load_frame(frame, l->dialect->opcode, item, len));
}

static void conn_pong(struct conn *c, const struct load_in *in)
{
    unsigned char pong[140];
    if (in->len > 125)
        load_die("a ping of %zu bytes", in->len);
    load_send_all(&c->rest, pong, load_frame(pong, LOAD_PONG, in->payload, in->len));
}

static __attribute__((noreturn)) void die_unexpected(const struct load_in *in)
{
    int len = in->len > 200 ? 200 : (int)in->len;
    for (int i = 0; i < len; i++)
        if (!isprint(in->payload[i]))
            load_die("unexpected frame with opcode %d, %zu bytes", in->opcode, in->len);
    load_die("unexpected frame with opcode %d: %.*s", in->opcode, len, (const char *)in->payload);
}

/* Waits for `count` items of that kind while the socket blocks. */
static void conn_expect(const struct load *l, struct conn *c, enum item_kind kind, uint32_t count)
{
    while (count) {
        struct load_in in;
        struct item item;
        while (!load_parse(c->rest.bytes, c->rest.have, &in))
            load_more(&c->rest);
        if (in.opcode == LOAD_PING)
            conn_pong(c, &in);
        else if (in.opcode != l->dialect->opcode)
            die_unexpected(&in);
        /* While connecting no server begins an item in one frame and ends it in the next. */
        for (size_t at = 0; in.opcode == l->dialect->opcode && at < in.len; at += item.size) {
            if (!l->dialect->item(in.payload + at, in.len - at, &item) || item.kind == ITEM_WRONG)
                die_unexpected(&in);
            count -= item.kind == kind && count;
        }
        load_keep(&c->rest, c->rest.bytes + in.size, c->rest.have - in.size);
    }
}

/* Returns the answers to wait for. */
static uint32_t opening_subscribe(const struct load *l, const struct opening *o)
{
    unsigned char item[ITEM_BYTES];
    uint32_t used = 0, items = 0;
    for (uint32_t at = 0; l->dialect->subscribe && at < o->count; at += used, items++)
        conn_send(
            l, o->conn, item, l->dialect->subscribe(item, o->topics + at, o->count - at, &used));
    return items;
}

static void wave_open(const struct load *l, struct opening *wave, size_t count)
{
    const struct dialect *d = l->dialect;
    unsigned char hello[ITEM_BYTES];
    for (struct opening *o = wave; o < wave + count; o++) {
        char path[128] = "/";
        if (d->path)
            d->path(path, sizeof path, o->role, o->topics[0]);
        *o->conn = (struct conn){.rest = load_dial(o->port, o->index)};
        if (l->tls)
            load_tls_shake(l->tls, &o->conn->rest);
        load_ask(&o->conn->rest, o->port, path, d->protocol);
    }
    for (struct opening *o = wave; o < wave + count; o++) {
        load_upgraded(&o->conn->rest);
        if (d->hello)
            conn_send(l, o->conn, hello, d->hello(hello));
    }
    for (struct opening *o = wave; o < wave + count; o++) {
        if (d->greets)
            conn_expect(l, o->conn, ITEM_GREETING, 1);
        o->waits = opening_subscribe(l, o);
    }
    for (struct opening *o = wave; o < wave + count; o++)
        conn_expect(l, o->conn, ITEM_ACK, o->waits);
}

void conn_open_all(const struct load *l, struct opening *openings, size_t count)
{
    for (size_t at = 0; at < count; at += WAVE)
        wave_open(l, openings + at, count - at < WAVE ? count - at : WAVE);
}

void conn_close(struct conn *c)
{
    load_close(&c->rest);
    free(c->part.bytes);
}

/* Reads items; returns the bytes used. */
static size_t items_read(struct load *l, struct conn *c, struct subscriber *s,
    const unsigned char *bytes, size_t have, const struct load_in *in)
{
    size_t used = 0;
    struct item item;
    while (used < have && l->dialect->item(bytes + used, have - used, &item)) {
        used += item.size;
        if (item.kind == ITEM_DELIVERY && s)
            subscriber_delivery(l, s, &item);
        else if (item.kind == ITEM_PING)
            conn_send(l, c, l->dialect->pong, strlen(l->dialect->pong));
        else if (item.kind == ITEM_WRONG ||
                 (item.kind == ITEM_DELIVERY && !l->dialect->publishers_are_answered))
            die_unexpected(in);
    }
    return used;
}

static void frame_read(
    struct load *l, struct conn *c, struct subscriber *s, const struct load_in *in)
{
    struct load_conn *part = &c->part;
    if (!part->have) {
        size_t used = items_read(l, c, s, in->payload, in->len, in);
        if (used < in->len && !l->dialect->stream)
            die_unexpected(in);
        load_keep(part, in->payload + used, in->len - used);
        return;
    }
    size_t have = part->have + in->len;
    unsigned char *bytes = malloc(have);
    if (!bytes)
        load_die("no memory");
    memcpy(bytes, part->bytes, part->have);
    memcpy(bytes + part->have, in->payload, in->len);
    size_t used = items_read(l, c, s, bytes, have, in);
    load_keep(part, bytes + used, have - used);
    free(bytes);
}

void conn_read(struct load *l, struct conn *c, struct subscriber *s)
{
    size_t have = c->rest.have, used = 0;
    struct load_in in;
    if (have)
        memcpy(l->in, c->rest.bytes, have);
    ssize_t n = load_receive(&c->rest, l->in + have, READ_BYTES - have);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        load_die("the server closed a connection: %s", n ? strerror(errno) : "end of stream");
    have += (size_t)n;
    l->read_at = load_now_ns();
    while (load_parse(l->in + used, have - used, &in)) {
        used += in.size;
        if (in.opcode == l->dialect->opcode)
            frame_read(l, c, s, &in);
        else if (in.opcode == LOAD_PING)
            conn_pong(c, &in);
        else
            die_unexpected(&in);
    }
    load_keep(&c->rest, l->in + used, have - used);
}
