#include "base/log_ring.h"

#include <stdlib.h>
#include <string.h>

struct log_entry {
    uint64_t number;
    uint32_t len; /* of the text behind it */
    uint32_t level;
};

struct log_ring *log_ring_new(size_t room)
{
    struct log_ring *ring = calloc(1, sizeof *ring);
    if (!ring)
        return NULL;
    ring->bytes = malloc(room);
    if (!ring->bytes) {
        free(ring);
        return NULL;
    }
    ring->room = room;
    ring->next = 1;
    pthread_mutex_init(&ring->lock, NULL);
    return ring;
}

void log_ring_free(struct log_ring *ring)
{
    if (!ring)
        return;
    pthread_mutex_destroy(&ring->lock);
    free(ring->bytes);
    free(ring);
}

/* `at`: from the start on, below `room` twice. */
static void put(struct log_ring *ring, size_t at, const void *bytes, size_t len)
{
    at %= ring->room;
    size_t first = len < ring->room - at ? len : ring->room - at;
    memcpy(ring->bytes + at, bytes, first);
    memcpy(ring->bytes, (const char *)bytes + first, len - first);
}

static struct log_entry entry_at(const struct log_ring *ring, size_t at)
{
    struct log_entry entry;
    char *to = (char *)&entry;
    for (size_t i = 0; i < sizeof entry; i++)
        to[i] = ring->bytes[(at + i) % ring->room];
    return entry;
}

void log_ring_add(struct log_ring *ring, unsigned level, struct text rest)
{
    size_t size = sizeof(struct log_entry) + rest.len;
    pthread_mutex_lock(&ring->lock);
    struct log_entry entry = {ring->next++, (uint32_t)rest.len, level};
    if (size <= ring->room) {
        while (ring->room - ring->used < size) {
            size_t oldest = sizeof entry + entry_at(ring, ring->start).len;
            ring->start = (ring->start + oldest) % ring->room;
            ring->used -= oldest;
        }
        put(ring, ring->start + ring->used, &entry, sizeof entry);
        put(ring, ring->start + ring->used + sizeof entry, rest.at, rest.len);
        ring->used += size;
    }
    pthread_mutex_unlock(&ring->lock);
}

static void append_entry(
    const struct log_ring *ring, size_t at, const struct log_entry *entry, struct buf *out)
{
    size_t text = (at + sizeof *entry) % ring->room;
    size_t first = entry->len < ring->room - text ? entry->len : ring->room - text;
    buf_append_string(out, out->len > 0 ? ",{\"number\":" : "{\"number\":");
    buf_append_number(out, entry->number);
    buf_append(out, ring->bytes + text, first);
    buf_append(out, ring->bytes, entry->len - first);
}

uint64_t log_ring_read(
    struct log_ring *ring, uint64_t after, unsigned level, size_t bytes, struct buf *out)
{
    struct buf found = {0};
    buf_reserve(&found, bytes); /* before the lock, which whoever logs waits for */
    pthread_mutex_lock(&ring->lock);
    uint64_t behind = ring->next - 1;
    after = after <= behind ? after : 0;
    for (size_t at = 0; at < ring->used;) {
        size_t place = (ring->start + at) % ring->room;
        struct log_entry entry = entry_at(ring, place);
        at += sizeof entry + entry.len;
        if (entry.number <= after || entry.level < level)
            continue;
        if (found.len > 0 && found.len + entry.len > bytes) {
            behind = entry.number - 1;
            break;
        }
        append_entry(ring, place, &entry, &found);
    }
    pthread_mutex_unlock(&ring->lock);
    out->failed |= found.failed;
    buf_append_text(out, buf_text(&found));
    buf_fini(&found);
    return behind;
}
