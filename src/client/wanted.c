#include "client/wanted.h"

#include <stdlib.h>

struct topic {
    size_t len;
    char name[];
};

static bool topic_is(const void *item, const void *wanted)
{
    const struct topic *topic = item;
    return text_equal((struct text){topic->name, topic->len}, *(const struct text *)wanted);
}

static struct topic *find(const struct wanted *w, uint64_t hash, struct text name)
{
    return map_find(&w->topics, hash, topic_is, &name);
}

bool wanted_has(const struct wanted *w, struct hash_key key, struct text topic)
{
    return find(w, hash_bytes(key, topic.at, topic.len), topic) != NULL;
}

bool wanted_add(struct wanted *w, struct hash_key key, struct text topic)
{
    uint64_t hash = hash_bytes(key, topic.at, topic.len);
    if (find(w, hash, topic))
        return true;
    struct topic *added = malloc(sizeof *added + topic.len);
    if (!added)
        return false;
    added->len = topic.len;
    memcpy(added->name, topic.at, topic.len);
    if (map_add(&w->topics, hash, added))
        return true;
    free(added);
    return false;
}

void wanted_remove(struct wanted *w, struct hash_key key, struct text topic)
{
    uint64_t hash = hash_bytes(key, topic.at, topic.len);
    struct topic *found = find(w, hash, topic);
    if (!found)
        return;
    map_remove(&w->topics, hash, found);
    free(found);
}

bool wanted_next(const struct wanted *w, size_t *at, struct text *topic)
{
    const struct topic *next = map_next(&w->topics, at);
    if (next)
        *topic = (struct text){next->name, next->len};
    return next != NULL;
}

void wanted_fini(struct wanted *w)
{
    size_t at = 0;
    for (void *topic; (topic = map_next(&w->topics, &at)) != NULL;)
        free(topic);
    map_fini(&w->topics);
}
