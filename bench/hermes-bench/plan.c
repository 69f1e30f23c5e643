#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

void plan_init(struct plan *plan)
{
    *plan = (struct plan){0};
}

void plan_fini(struct plan *plan)
{
    free(plan->topics);
    free(plan->streams);
    free(plan->publishers);
    free(plan->subscribers);
    free(plan->subscriptions);
    plan_init(plan);
}

static void make_room(struct plan *plan, size_t topics, size_t streams, size_t publishers,
    size_t subscribers, size_t subscriptions)
{
    plan->topics = memory_more(plan->topics, plan->topic_count + topics, sizeof *plan->topics);
    plan->streams = memory_more(plan->streams, plan->stream_count + streams, sizeof *plan->streams);
    plan->publishers =
        memory_more(plan->publishers, plan->publisher_count + publishers, sizeof *plan->publishers);
    plan->subscribers = memory_more(
        plan->subscribers, plan->subscriber_count + subscribers, sizeof *plan->subscribers);
    plan->subscriptions = memory_more(
        plan->subscriptions, plan->subscription_count + subscriptions, sizeof *plan->subscriptions);
}

static void add_topic(struct plan *plan)
{
    plan->topics[plan->topic_count++] = (struct plan_topic){0};
}

static void add_publisher(struct plan *plan)
{
    plan->publishers[plan->publisher_count++] =
        (struct plan_publisher){.first_stream = (uint32_t)plan->stream_count};
}

/* Of the newest publisher. */
static void add_stream(struct plan *plan, size_t topic)
{
    uint32_t publisher = (uint32_t)plan->publisher_count - 1;
    struct plan_topic *t = &plan->topics[topic];
    if (t->streams++ == 0)
        t->first_stream = (uint32_t)plan->stream_count;
    plan->publishers[publisher].streams++;
    plan->streams[plan->stream_count++] = (struct plan_stream){(uint32_t)topic, publisher};
}

static void add_subscriber(struct plan *plan)
{
    plan->subscribers[plan->subscriber_count++] =
        (struct plan_subscriber){.first = plan->subscription_count};
}

/* Of the newest subscriber. */
static void add_subscription(struct plan *plan, size_t topic)
{
    plan->subscribers[plan->subscriber_count - 1].count++;
    plan->topics[topic].subscribers++;
    plan->subscriptions[plan->subscription_count++] = (uint32_t)topic;
}

void plan_add_fanout(struct plan *plan, uint32_t subscribers, uint32_t publishers)
{
    size_t topic = plan->topic_count;
    make_room(plan, 1, publishers, publishers, subscribers, subscribers);
    add_topic(plan);
    for (uint32_t p = 0; p < publishers; p++) {
        add_publisher(plan);
        add_stream(plan, topic);
    }
    for (uint32_t s = 0; s < subscribers; s++) {
        add_subscriber(plan);
        add_subscription(plan, topic);
    }
}

void plan_add_pairs(struct plan *plan, uint32_t pairs)
{
    make_room(plan, pairs, pairs, pairs, pairs, pairs);
    for (uint32_t i = 0; i < pairs; i++) {
        add_topic(plan);
        add_publisher(plan);
        add_stream(plan, plan->topic_count - 1);
        add_subscriber(plan);
        add_subscription(plan, plan->topic_count - 1);
    }
}

void plan_add_rovers(struct plan *plan, uint32_t count)
{
    make_room(plan, 0, 0, 0, count, count);
    for (uint32_t i = 0; i < count; i++) {
        add_subscriber(plan);
        add_subscription(plan, 0);
        plan->subscribers[plan->subscriber_count - 1].roves = true;
    }
}

/* ---- topics at random ---- */

/* xorshift64*; never 0. */
static uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

/* Cards of which each topic is one; dealt out, they are shuffled again. */
struct deck {
    uint32_t *cards;
    uint32_t count, dealt;
    uint64_t random;
};

/* A card that the hand does not hold yet: with each <= topics there is one, for a hand holds fewer
 * cards than the deck has, so that behind a shuffle one is left. The cards passed over stay. */
static uint32_t deal(struct deck *d, const uint32_t *hand, uint32_t held)
{
    for (;;) {
        for (uint32_t i = d->dealt; i < d->count; i++) {
            uint32_t j = i + (uint32_t)(random_next(&d->random) % (d->count - i));
            uint32_t card = d->cards[j];
            d->cards[j] = d->cards[i];
            d->cards[i] = card;
            bool has = false;
            for (uint32_t k = 0; k < held && !has; k++)
                has = hand[k] == card;
            if (has)
                continue;
            d->cards[i] = d->cards[d->dealt];
            d->cards[d->dealt++] = card;
            return card;
        }
        d->dealt = 0;
    }
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void plan_add_topics(struct plan *plan, uint32_t topics, uint32_t subscribers, uint32_t each,
    uint32_t publishers, uint64_t seed)
{
    size_t first = plan->topic_count;
    make_room(plan, topics, topics, publishers, subscribers, (size_t)subscribers * each);
    for (uint32_t t = 0; t < topics; t++)
        add_topic(plan);
    for (uint32_t p = 0; p < publishers; p++) {
        add_publisher(plan);
        for (uint32_t t = p; t < topics; t += publishers)
            add_stream(plan, first + t);
    }
    struct deck deck = {
        memory_new(topics, sizeof *deck.cards), topics, 0, seed * 0x9e3779b97f4a7c15u | 1};
    for (uint32_t t = 0; t < topics; t++)
        deck.cards[t] = t;
    uint32_t *hand = memory_new(each, sizeof *hand);
    for (uint32_t s = 0; s < subscribers; s++) {
        add_subscriber(plan);
        for (uint32_t k = 0; k < each; k++)
            hand[k] = deal(&deck, hand, k);
        qsort(hand, each, sizeof *hand, ascending);
        for (uint32_t k = 0; k < each; k++)
            add_subscription(plan, first + hand[k]);
    }
    free(hand);
    free(deck.cards);
}

/* ---- all of them ---- */

void plan_stall(struct plan *plan, double share)
{
    double due = 0;
    for (size_t s = 0; s < plan->subscriber_count; s++) {
        due += share;
        plan->subscribers[s].stalls = due >= 1 - 1e-9;
        if (plan->subscribers[s].stalls)
            due -= 1;
    }
}

uint64_t plan_deliveries(const struct plan *plan)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < plan->stream_count; i++)
        sum += plan->topics[plan->streams[i].topic].subscribers;
    return sum;
}
