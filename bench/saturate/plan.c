/* Who subscribes what and who publishes where.
 *
 *  fanout: one topic, S subscribers of it, P publishers to it;
 *  pairs:  N topics, each with one subscriber and one publisher of its own;
 *  topics: T topics, S subscribers of K random ones each, P publishers that go round all topics,
 * each beginning at another place.
 *
 * A publisher's topics follow from the numbers of its messages, so that a delivery needs to carry
 * no topic to be checked against what its subscriber asked for. */
#include "saturate.h"

uint32_t publisher_topic(const struct load *l, const struct publisher *p, uint64_t number)
{
    if (l->mode == MODE_PAIRS)
        return (uint32_t)(p - l->publishers);
    return l->topic_count == 1 ? 0 : (uint32_t)((p->first + number) % l->topic_count);
}

uint64_t publisher_sequence(const struct load *l, const struct publisher *p, uint64_t number)
{
    if (l->mode == MODE_PAIRS || l->topic_count == 1)
        return number;
    return (p->first + number) / l->topic_count;
}

uint64_t publisher_next(const struct load *l, const struct publisher *p, uint32_t topic)
{
    if (l->mode == MODE_PAIRS)
        return p->sent;
    return (p->first + p->sent + l->topic_count - 1 - topic) / l->topic_count;
}

/* The same topics in every run: splitmix64 from a fixed seed. */
static uint64_t plan_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static bool has_topic(const struct slot *slots, uint32_t count, uint32_t topic)
{
    for (uint32_t i = 0; i < count; i++)
        if (slots[i].topic == topic)
            return true;
    return false;
}

void load_plan(struct load *l)
{
    size_t slots = (size_t)l->subscriber_count * l->slot_count;
    uint64_t random = 3;

    l->heard = l->mode == MODE_PAIRS ? 1 : l->publisher_count;
    l->names = calloc(l->topic_count, TOPIC_BYTES);
    l->subscribers_of = calloc(l->topic_count, sizeof *l->subscribers_of);
    l->subscribers = calloc(l->subscriber_count, sizeof *l->subscribers);
    l->publishers = calloc(l->publisher_count, sizeof *l->publishers);
    l->idle = calloc(l->publisher_count, sizeof(struct publisher *));
    struct slot *slot = calloc(slots, sizeof *slot);
    struct sequence *sequence = calloc(slots * l->heard, sizeof *sequence);
    uint64_t *after = calloc((size_t)l->subscriber_count * l->heard, sizeof *after);
    if (!l->names || !l->subscribers_of || !l->subscribers || !l->publishers || !l->idle || !slot ||
        !sequence || !after)
        load_die("no memory");

    for (uint32_t t = 0; t < l->topic_count; t++)
        snprintf(l->names[t], TOPIC_BYTES, "%s%05u", l->prefix, t);
    for (uint32_t i = 0; i < l->publisher_count; i++)
        l->publishers[i].first = (uint64_t)i * l->topic_count / l->publisher_count;
    for (uint32_t i = 0; i < l->subscriber_count; i++) {
        struct subscriber *s = &l->subscribers[i];
        s->slots = slot;
        s->after = after;
        after += l->heard;
        slot += l->slot_count;
        for (uint32_t k = 0; k < l->slot_count; k++, sequence += l->heard) {
            uint32_t topic = l->mode == MODE_PAIRS ? i : 0;
            while (
                l->mode == MODE_TOPICS &&
                has_topic(s->slots, k, topic = (uint32_t)(plan_random(&random) % l->topic_count)))
                ;
            s->slots[k] = (struct slot){.topic = topic, .of = sequence};
            l->subscribers_of[topic]++;
            for (uint32_t p = 0; l->mode == MODE_TOPICS && p < l->heard; p++)
                sequence[p].next = publisher_next(l, &l->publishers[p], topic);
        }
    }
}
