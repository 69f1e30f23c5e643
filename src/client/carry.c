#include "client/carry.h"

#include <stdint.h>
#include <string.h>

#include "client/pending.h"
#include "hermes/protocol.h"
#include "proto/ws_out.h"

struct frame {
    enum ws_opcode opcode;
    const uint8_t *key;
    const uint8_t *payload;
    size_t payload_len;
    size_t len; /* with its head */
};

/* The frame at `offset`. They are our own, so they are whole and their lengths are true. */
static struct frame frame_at(const struct buf *from, size_t offset)
{
    const uint8_t *bytes = (const uint8_t *)from->data + offset;
    size_t head = 2;
    size_t len = bytes[1] & 0x7f;
    if (len >= 126) {
        size_t width = len == 126 ? 2 : 8;
        len = 0;
        for (size_t i = 0; i < width; i++)
            len = len << 8 | bytes[head + i];
        head += width;
    }
    return (struct frame){
        (enum ws_opcode)(bytes[0] & 0x0f), bytes + head, bytes + head + 4, len, head + 4 + len};
}

static bool starts_with(const struct frame *f, struct text start)
{
    if (f->payload_len < start.len)
        return false;
    for (size_t i = 0; i < start.len; i++)
        if ((char)(f->payload[i] ^ f->key[i % 4]) != start.at[i])
            return false;
    return true;
}

static bool is_kept(const struct frame *f)
{
    return f->opcode == WS_TEXT &&
           !starts_with(f, TEXT("{\"type\":\"" HERMES_TYPE_SUBSCRIBE "\"")) &&
           !starts_with(f, TEXT("{\"type\":\"" HERMES_TYPE_UNSUBSCRIBE "\"")) &&
           !starts_with(f, TEXT("{\"type\":\"" HERMES_TYPE_TOPICS "\"")) &&
           !starts_with(f, TEXT("{\"type\":\"" HERMES_TYPE_HISTORY "\"")) &&
           !starts_with(f, TEXT("{\"type\":\"" HERMES_TYPE_PRESENCE "\""));
}

bool carry(struct buf *to, const struct buf *from, size_t sent, bool again)
{
    bool met_cut = false;
    for (size_t at = 0; at < from->len;) {
        struct frame f = frame_at(from, at);
        bool gone = at + f.len <= sent;
        bool cut = at < sent && !gone;
        if (!gone && is_kept(&f)) {
            met_cut |= cut;
            if (!cut || again)
                buf_append(to, from->data + at, f.len);
        }
        at += f.len;
    }
    return met_cut;
}

size_t carry_count(const struct buf *from, size_t sent)
{
    size_t count = 0;
    for (size_t at = 0; at < from->len;) {
        struct frame f = frame_at(from, at);
        if (at >= sent && is_kept(&f))
            count++;
        at += f.len;
    }
    return count;
}

uint64_t carry_first_number(const struct buf *from)
{
    static const struct text start = {"{\"id\":", 6};
    for (size_t at = 0; at < from->len;) {
        struct frame f = frame_at(from, at);
        char id[24];
        size_t len = 0;
        if (f.opcode == WS_TEXT && starts_with(&f, start))
            for (size_t i = start.len; i < f.payload_len && len < sizeof id; i++) {
                id[len++] = (char)(f.payload[i] ^ f.key[i % 4]);
                if (len > 1 && id[len - 1] == '"')
                    break;
            }
        uint64_t number = pending_id_read((struct text){id, len});
        if (number)
            return number;
        at += f.len;
    }
    return 0;
}
