#include "broker/registry.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"

void registry_init(struct registry *r, unsigned workers)
{
    r->key = hash_key_random();
    r->worker_words = (workers + 63) / 64;
    for (size_t i = 0; i < REGISTRY_STRIPES; i++) {
        lock_init(&r->stripes[i].lock, LOCK_STRIPE);
        r->stripes[i].topics = (struct map){0};
    }
}

void registry_fini(struct registry *r) NO_THREAD_SAFETY_ANALYSIS
{
    for (size_t i = 0; i < REGISTRY_STRIPES; i++) {
        MUST(r->stripes[i].topics.count == 0);
        map_fini(&r->stripes[i].topics);
        lock_fini(&r->stripes[i].lock);
    }
}

struct text registry_name(const struct registry *r, const struct registry_topic *topic)
{
    return (struct text){(const char *)(topic->workers + r->worker_words), topic->name_len};
}

struct wanted {
    const struct registry *registry;
    struct text name;
};

static bool is_wanted(const void *item, const void *wanted)
{
    const struct wanted *w = wanted;
    return text_equal(registry_name(w->registry, item), w->name);
}

struct registry_topic *registry_find(
    struct registry *r, struct stripe *stripe, uint64_t hash, struct text name)
{
    return map_find(&stripe->topics, hash, is_wanted, &(struct wanted){r, name});
}

struct registry_topic *registry_join(struct registry *r, struct stripe *stripe, uint64_t hash,
    struct text name, unsigned worker, bool *made)
{
    struct registry_topic *topic = registry_find(r, stripe, hash, name);
    *made = !topic;
    if (!topic) {
        size_t set = r->worker_words * sizeof topic->workers[0];
        topic = malloc(sizeof *topic + set + name.len);
        if (!topic)
            return NULL;
        *topic = (struct registry_topic){.hash = hash, .name_len = (uint32_t)name.len};
        memset(topic->workers, 0, set);
        memcpy((char *)topic->workers + set, name.at, name.len);
        if (!map_add(&stripe->topics, hash, topic)) {
            free(topic);
            return NULL;
        }
    }
    topic->subscribers++;
    topic->workers[worker / 64] |= 1ULL << (worker % 64);
    return topic;
}

bool registry_leave(struct stripe *stripe, struct registry_topic *topic, unsigned worker, bool last)
{
    MUST(topic->subscribers > 0);
    if (last)
        topic->workers[worker / 64] &= ~(1ULL << (worker % 64));
    if (--topic->subscribers > 0)
        return false;
    map_remove(&stripe->topics, topic->hash, topic);
    free(topic);
    return true;
}
