/* Topics in a plain hash table, never removed, and who subscribes them. */
#define _GNU_SOURCE
#include "floor.h"

/* FNV-1a, eight bytes at a time: nobody here chooses names to make it slow. */
static uint32_t name_hash(const unsigned char *name, size_t len)
{
    uint64_t h = 0xcbf29ce484222325u ^ len, word;
    for (; len >= 8; len -= 8, name += 8) {
        memcpy(&word, name, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
    }
    for (word = 0; len; len--)
        word = word << 8 | *name++;
    h = (h ^ word) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32);
}

static struct topic *topic_find(
    const struct floor *f, const unsigned char *name, size_t len, uint32_t hash)
{
    struct topic *t = f->buckets[hash & (f->bucket_count - 1)];
    while (t && (t->hash != hash || t->len != len || memcmp(t->name, name, len) != 0))
        t = t->next;
    return t;
}

struct topic *floor_topic(const struct floor *f, const unsigned char *name, size_t len)
{
    return topic_find(f, name, len, name_hash(name, len));
}

static struct topic *topic_add(
    struct floor *f, const unsigned char *name, size_t len, uint32_t hash)
{
    if (f->topic_count == f->bucket_count) {
        uint32_t count = f->bucket_count * 2;
        struct topic **buckets = calloc(count, sizeof(struct topic *)), *t, *next;
        if (!buckets)
            load_die("no memory");
        for (uint32_t i = 0; i < f->bucket_count; i++)
            for (t = f->buckets[i]; t; t = next) {
                next = t->next;
                t->next = buckets[t->hash & (count - 1)];
                buckets[t->hash & (count - 1)] = t;
            }
        free(f->buckets);
        f->buckets = buckets;
        f->bucket_count = count;
    }
    struct topic *t = malloc(sizeof *t + len), **bucket = &f->buckets[hash & (f->bucket_count - 1)];
    if (!t)
        load_die("no memory");
    *t = (struct topic){.next = *bucket, .hash = hash, .len = (uint32_t)len};
    memcpy(t->name, name, len);
    *bucket = t;
    f->topic_count++;
    return t;
}

static struct member *member_find(struct peer *p, const struct topic *t)
{
    for (uint32_t i = 0; i < p->member_count; i++)
        if (p->members[i].topic == t)
            return &p->members[i];
    return NULL;
}

bool floor_subscribe(struct floor *f, struct peer *p, const unsigned char *name, size_t len)
{
    uint32_t hash = name_hash(name, len);
    struct topic *t = topic_find(f, name, len, hash);
    if (!t)
        t = topic_add(f, name, len, hash);
    else if (member_find(p, t))
        return false;
    floor_route(f);
    if (!p->member_cap) {
        p->members = &p->one;
        p->member_cap = 1;
    } else if (p->member_count == p->member_cap) {
        struct member *inside = p->members == &p->one ? p->members : NULL;
        p->members = floor_grow(inside ? NULL : p->members, &p->member_cap, sizeof *p->members);
        if (inside)
            p->members[0] = *inside;
    }
    if (t->count == t->cap)
        t->places = floor_grow(t->places, &t->cap, sizeof *t->places);
    p->members[p->member_count] = (struct member){t, t->count};
    t->places[t->count++] = (struct place){p, p->member_count++};
    return true;
}

/* The last subscriber takes the place that becomes free. */
static void topic_leave(const struct member *m)
{
    struct topic *t = m->topic;
    struct place last = t->places[--t->count];
    t->places[m->place] = last;
    last.peer->members[last.member].place = m->place;
}

bool floor_unsubscribe(struct floor *f, struct peer *p, const unsigned char *name, size_t len)
{
    struct topic *t = floor_topic(f, name, len);
    struct member *m = t ? member_find(p, t) : NULL;
    if (!m)
        return false;
    floor_route(f);
    peer_gather(f, p);
    topic_leave(m);
    *m = p->members[--p->member_count];
    if (m < p->members + p->member_count)
        m->topic->places[m->place].member = (uint32_t)(m - p->members);
    return true;
}

void floor_forget(struct peer *p)
{
    while (p->member_count)
        topic_leave(&p->members[--p->member_count]);
    if (p->members != &p->one)
        free(p->members);
}
