#include "cluster/people.h"

#include <stdlib.h>
#include <string.h>

/* Brokers that have been heard; past that all are forgotten, at the risk of telling one thing
 * twice. */
enum { HEARD_MOST = 4096 };

/* The newest event of one broker: it numbers them, and publishes each on several channels, one
 * right after the other. */
struct heard {
    uint64_t node;
    uint64_t newest;
};

static bool is_of(const void *item, const void *node)
{
    return ((const struct heard *)item)->node == *(const uint64_t *)node;
}

static void forget_all(struct shard *s)
{
    size_t at = 0;
    void *heard;
    while ((heard = map_next(&s->heard, &at)) != NULL)
        free(heard);
    map_fini(&s->heard);
}

static bool is_new(struct shard *s, uint64_t node, uint64_t number)
{
    struct heard *heard = map_find(&s->heard, node, is_of, &node);
    if (heard && heard->newest >= number)
        return false;
    if (!heard) {
        if (s->heard.count >= HEARD_MOST)
            forget_all(s);
        heard = malloc(sizeof *heard);
        if (!heard)
            return true;
        heard->node = node;
        if (!map_add(&s->heard, node, heard)) {
            free(heard);
            return true;
        }
    }
    heard->newest = number;
    return true;
}

void people_watch(struct shard *s, struct text topic)
{
    struct redis_link *l = s->subscriber;
    redis_begin(l, 2);
    redis_arg(l, TEXT("SUBSCRIBE"));
    cluster_arg(l, TEXT("hermes:w:"), topic);
    redis_send(l, NULL, NULL);
}

void people_event(struct shard *s, const struct payload *p)
{
    struct cluster *c = s->cluster;
    if (!is_new(s, p->epoch, p->offset))
        return;
    struct message *m = message_begin(p->frames.len);
    if (!m)
        return;
    memcpy(m->frames, p->frames.at, p->frames.len);
    m->len = (uint32_t)p->frames.len;
    m->except = p->except;
    m->event = EVENT_PRESENCE;
    uint64_t hash = registry_hash(&c->route->registry, p->topic);
    route_event(c->route, cluster_rule(c, p->topic), hash, p->topic, m);
}

void people_fini(struct shard *s)
{
    forget_all(s);
}
