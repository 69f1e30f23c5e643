#include "broker/route.h"

#include "base/die.h"

/* Posts to every worker in the topic's set; one reference each, the caller's among them. */
static int post_all(struct route *r, const struct registry_topic *topic, struct message *m)
{
    int crowded = -1;
    uint32_t posts = 0;
    for (size_t word = 0; word < r->registry.worker_words; word++)
        for (uint64_t set = topic->workers[word]; set != 0; set &= set - 1)
            posts++;
    MUST_DEBUG(posts > 0);
    message_hold(m, posts);
    struct mail mail = {.kind = MAIL_MESSAGE,
        .weight = message_weight(m) + (uint32_t)sizeof(struct mail),
        .item = m};
    for (size_t word = 0; word < r->registry.worker_words; word++) {
        for (uint64_t set = topic->workers[word]; set != 0; set &= set - 1) {
            unsigned worker = (unsigned)(word * 64) + (unsigned)__builtin_ctzll(set);
            if (!mailbox_post(r->boxes[worker], mail))
                message_drop(m); /* it has shut down: its subscribers are gone */
            else if (mailbox_crowded(r->boxes[worker], r->crowded))
                crowded = (int)worker;
        }
    }
    return crowded;
}

struct route_result route_publish(
    struct route *r, uint64_t hash, struct text topic, struct message *m)
{
    struct route_result result = {.crowded = -1};
    struct stripe *stripe = registry_stripe(&r->registry, hash);
    lock_take(&stripe->lock);
    struct registry_topic *found = registry_find(&r->registry, stripe, hash, topic);
    if (found) {
        m->hash = hash;
        m->topic = found;
        m->offset = found->offset + 1;
        result.offset = found->offset += m->count;
        result.subscribers = found->subscribers;
        result.crowded = post_all(r, found, m);
    }
    lock_give(&stripe->lock);
    message_drop(m);
    return result;
}

struct registry_topic *route_subscribe(struct route *r, unsigned worker, struct tray *tray,
    uint64_t hash, struct text topic, bool *made)
{
    struct stripe *stripe = registry_stripe(&r->registry, hash);
    lock_take(&stripe->lock);
    struct registry_topic *found = registry_join(&r->registry, stripe, hash, topic, worker, made);
    mailbox_take(r->boxes[worker], tray);
    lock_give(&stripe->lock);
    return found;
}

bool route_unsubscribe(struct route *r, unsigned worker, struct registry_topic *topic, bool last)
{
    struct stripe *stripe = registry_stripe(&r->registry, topic->hash);
    lock_take(&stripe->lock);
    bool gone = registry_leave(stripe, topic, worker, last);
    lock_give(&stripe->lock);
    return gone;
}
