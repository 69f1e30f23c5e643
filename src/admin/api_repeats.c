#include "admin/api_repeats.h"

#include <stdlib.h>
#include <string.h>

void repeats_init(struct repeats *r)
{
    *r = (struct repeats){.key = hash_key_random()};
    list_init(&r->order);
}

/* With what the map and malloc take. */
static size_t weight_of(const struct repeat *repeat)
{
    return sizeof *repeat + repeat->key_len + repeat->topic_len + 2 * sizeof(struct map_slot) + 16;
}

void repeats_forget(struct repeats *r, struct repeat *repeat)
{
    map_remove(&r->map, repeat->hash, repeat);
    list_remove(&repeat->order);
    r->bytes -= weight_of(repeat);
    free(repeat);
}

static struct repeat *oldest(const struct repeats *r)
{
    return LIST_ITEM(r->order.next, struct repeat, order);
}

void repeats_fini(struct repeats *r)
{
    while (!list_empty(&r->order))
        repeats_forget(r, oldest(r));
    map_fini(&r->map);
}

static bool is_of_key(const void *item, const void *wanted)
{
    const struct repeat *repeat = item;
    const struct text *key = wanted;
    return text_equal((struct text){repeat->bytes, repeat->key_len}, *key);
}

const struct repeat *repeats_find(struct repeats *r, struct text key, uint64_t now_ms)
{
    while (!list_empty(&r->order) && oldest(r)->until_ms <= now_ms)
        repeats_forget(r, oldest(r));
    return map_find(&r->map, hash_bytes(r->key, key.at, key.len), is_of_key, &key);
}

struct repeat *repeats_pending(struct repeats *r, struct text key)
{
    struct repeat *repeat = map_find(&r->map, hash_bytes(r->key, key.at, key.len), is_of_key, &key);
    return repeat && repeat->pending ? repeat : NULL;
}

struct repeat *repeats_add(struct repeats *r, struct text key, struct text topic, uint64_t now_ms)
{
    struct repeat *repeat = malloc(sizeof *repeat + key.len + topic.len);
    if (!repeat)
        return NULL;
    *repeat = (struct repeat){.hash = hash_bytes(r->key, key.at, key.len),
        .until_ms = now_ms + REPEATS_MS,
        .key_len = (uint32_t)key.len,
        .topic_len = (uint32_t)topic.len};
    memcpy(repeat->bytes, key.at, key.len);
    memcpy(repeat->bytes + key.len, topic.at, topic.len);
    while (!list_empty(&r->order) &&
           (r->map.count >= REPEATS_MOST || r->bytes + weight_of(repeat) > REPEATS_BYTES))
        repeats_forget(r, oldest(r));
    if (!map_add(&r->map, repeat->hash, repeat)) {
        free(repeat);
        return NULL;
    }
    list_append(&r->order, &repeat->order);
    r->bytes += weight_of(repeat);
    return repeat;
}
