#include "client/wanted.h"

#include <stdlib.h>

struct sought {
    struct text name;
    bool pattern;
};

static bool is(const struct subscription *s, struct text name, bool pattern)
{
    return s->pattern == pattern && text_equal(subscription_name(s), name);
}

static bool is_sought(const void *item, const void *wanted)
{
    const struct sought *sought = wanted;
    return is(item, sought->name, sought->pattern);
}

bool subscription_set(struct subscription *s, struct text epoch, uint64_t seen)
{
    if (!s->known || !text_equal(s->epoch, epoch)) {
        char *copy = malloc(epoch.len ? epoch.len : 1);
        if (!copy)
            return false;
        if (epoch.len)
            memcpy(copy, epoch.at, epoch.len);
        free((void *)(uintptr_t)s->epoch.at);
        s->epoch = (struct text){copy, epoch.len};
    }
    s->seen = seen;
    s->known = true;
    return true;
}

static void release(struct subscription *s)
{
    free((void *)(uintptr_t)s->epoch.at);
    free(s);
}

struct subscription *wanted_find(
    struct wanted *w, struct hash_key key, struct text name, bool pattern)
{
    /* Mostly it is the topic of the message before. */
    if (w->last && is(w->last, name, pattern))
        return w->last;
    struct sought sought = {name, pattern};
    struct subscription *found =
        map_find(&w->all, hash_bytes(key, name.at, name.len), is_sought, &sought);
    if (found)
        w->last = found;
    return found;
}

struct subscription *wanted_add(
    struct wanted *w, struct hash_key key, struct text name, bool pattern)
{
    struct subscription *s = wanted_find(w, key, name, pattern);
    if (s)
        return s;
    s = malloc(sizeof *s + name.len);
    if (!s)
        return NULL;
    *s = (struct subscription){.pattern = pattern, .len = name.len};
    memcpy(s->name, name.at, name.len);
    if (map_add(&w->all, hash_bytes(key, name.at, name.len), s))
        return s;
    free(s);
    return NULL;
}

void wanted_remove(struct wanted *w, struct hash_key key, struct subscription *s)
{
    map_remove(&w->all, hash_bytes(key, s->name, s->len), s);
    if (w->last == s)
        w->last = NULL;
    release(s);
}

struct subscription *wanted_next(const struct wanted *w, size_t *at)
{
    return map_next(&w->all, at);
}

void wanted_fini(struct wanted *w)
{
    size_t at = 0;
    for (void *s; (s = map_next(&w->all, &at)) != NULL;)
        release(s);
    map_fini(&w->all);
    w->last = NULL;
}
