/* Messages that come from Redis: to the registry, or to where they wait for their turn. */
#include <stdlib.h>
#include <string.h>

#include "broker/relay.h"
#include "cluster/followed.h"
#include "cluster/people.h"

enum relay_result followed_relay(struct cluster *c, struct followed *f, uint64_t hash,
    struct text topic, uint64_t epoch, struct message *m)
{
    struct relayed relayed = route_relay(c->route, cluster_rule(c, topic), hash, topic, epoch, m);
    if (relayed.crowded >= 0)
        cluster_crowded(c, relayed.crowded);
    if (f && (relayed.result == RELAY_DONE || relayed.result == RELAY_KNOWN))
        followed_came_to(f, epoch, m->offset + m->count - 1);
    return relayed.result;
}

static struct message *message_of(const struct payload *p)
{
    struct message *m = message_begin(p->frames.len);
    if (!m)
        return NULL;
    memcpy(m->frames, p->frames.at, p->frames.len);
    m->len = (uint32_t)p->frames.len;
    m->count = p->count;
    m->offset = p->offset;
    m->except = p->except;
    return m;
}

/* There was no memory for messages. */
static void lost_some(struct shard *s, struct followed *f)
{
    if (f && f->state == FOLLOW_LIVE)
        followed_ask(f); /* what is missing will be found missing */
    else if (f)
        f->again = true;
    if ((!f || !f->live) && s->pattern_count > 0)
        s->missed = true;
}

/* Of a topic that is not live: patterns may want it now, and whoever waits for the topic later. */
static void come_early(struct shard *s, struct followed *f, const struct payload *p,
    enum relay_result result, struct message *m)
{
    if (result == RELAY_NO_MEMORY)
        lost_some(s, f);
    if (f && result == RELAY_NOBODY) {
        followed_hold(f, p->epoch, m);
        return;
    }
    if (f && result == RELAY_DONE) { /* so it is not for who will join */
        f->seen_epoch = p->epoch;
        f->seen = p->offset + p->count - 1;
    }
    message_drop(m);
}

static void messages_came(struct shard *s, const struct payload *p)
{
    struct cluster *c = s->cluster;
    uint64_t hash = registry_hash(&c->route->registry, p->topic);
    struct followed *f = followed_find(c, hash, p->topic);
    struct message *m = message_of(p);
    metric_add(&c->metrics, METRIC_cluster_received_total, p->count);
    if (!m) {
        lost_some(s, f);
        return;
    }
    if (f && f->live && f->state != FOLLOW_LIVE) {
        followed_hold(f, p->epoch, m);
        return;
    }
    enum relay_result result = followed_relay(c, f, hash, p->topic, p->epoch, m);
    if (!f || !f->live) {
        come_early(s, f, p, result, m);
    } else if (result == RELAY_HOLE) {
        followed_ask(f);
        followed_hold(f, p->epoch, m);
    } else {
        if (result == RELAY_NO_MEMORY)
            followed_ask(f);
        message_drop(m);
    }
}

void follow_message(struct shard *s, struct text channel, struct text payload)
{
    struct payload p;
    if (!payload_read(payload, &p))
        LOG_LIMITED(s->cluster->settings.logger, LIMIT_CLUSTER, LOG_WARN,
            "a message from redis is not understood", LOG_TEXT("channel", channel));
    else if (p.kind == PAYLOAD_EVENT)
        people_event(s, &p);
    else
        messages_came(s, &p);
}
