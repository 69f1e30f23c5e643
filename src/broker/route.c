#include "broker/route.h"

#include "base/die.h"

/* A set of workers. */
struct workers {
    uint64_t words[MAILBOX_WAITERS_MAX / 64];
};

/* Posts to every worker in the topic's set; one reference each, the caller's among them. Who has to
 * be woken for it is put into `asleep`. */
static int post_all(
    struct route *r, const struct registry_topic *topic, struct message *m, struct workers *asleep)
{
    int crowded = -1;
    uint32_t posts = 0;
    for (size_t word = 0; word < r->registry.worker_words; word++)
        posts += (uint32_t)__builtin_popcountll(topic->workers[word]);
    MUST_DEBUG(posts > 0);
    message_hold(m, posts);
    struct mail mail = {.kind = MAIL_MESSAGE,
        .weight = message_weight(m) + (uint32_t)sizeof(struct mail),
        .item = m};
    for (size_t word = 0; word < r->registry.worker_words; word++) {
        for (uint64_t set = topic->workers[word]; set != 0; set &= set - 1) {
            unsigned worker = (unsigned)(word * 64) + (unsigned)__builtin_ctzll(set);
            enum mailbox_put put = mailbox_put(r->boxes[worker], mail);
            if (put == MAILBOX_CLOSED)
                message_drop(m); /* it has shut down: its subscribers are gone */
            else if (mailbox_crowded(r->boxes[worker], r->crowded))
                crowded = (int)worker;
            if (put == MAILBOX_RING)
                asleep->words[word] |= set & -set;
        }
    }
    return crowded;
}

static void wake_all(struct route *r, const struct workers *asleep)
{
    for (size_t word = 0; word < r->registry.worker_words; word++)
        for (uint64_t set = asleep->words[word]; set != 0; set &= set - 1)
            mailbox_ring(r->boxes[word * 64 + (size_t)__builtin_ctzll(set)]);
}

struct route_result route_publish(
    struct route *r, uint64_t hash, struct text topic, struct message *m)
{
    struct route_result result = {.crowded = -1};
    struct workers asleep = {{0}};
    struct stripe *stripe = registry_stripe(&r->registry, hash);
    lock_take(&stripe->lock);
    struct registry_topic *found = registry_find(&r->registry, stripe, hash, topic);
    if (found) {
        m->hash = hash;
        m->topic = found;
        m->offset = found->offset + 1;
        result.offset = found->offset += m->count;
        result.subscribers = found->subscribers;
        result.crowded = post_all(r, found, m, &asleep);
    }
    lock_give(&stripe->lock);
    wake_all(r, &asleep);
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
