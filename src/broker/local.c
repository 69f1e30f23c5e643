#include "broker/local.h"

#include <stdlib.h>

#include "base/die.h"

enum { SUBSCRIBER_LINEAR = 8 };

void local_init(struct local_topics *l)
{
    for (size_t i = 0; i < LOCAL_PARTS; i++)
        l->parts[i] = (struct map){0};
    slab_init(&l->topics, sizeof(struct local_topic));
}

void local_fini(struct local_topics *l)
{
    for (size_t i = 0; i < LOCAL_PARTS; i++)
        MUST(l->parts[i].count == 0);
    slab_fini(&l->topics);
}

/* The high bits, as the registry does: the low ones place it inside. */
static struct map *part_of(struct local_topics *l, uint64_t hash)
{
    return &l->parts[hash >> 58];
}

static bool has_key(const void *item, const void *wanted)
{
    return ((const struct local_topic *)item)->key == wanted;
}

struct local_topic *local_find(const struct local_topics *l, uint64_t hash, const void *key)
{
    return map_find(&l->parts[hash >> 58], hash, has_key, key);
}

struct named {
    const struct registry *registry;
    const struct patterns *patterns;
    struct text name;
};

static bool is_named(const void *item, const void *wanted)
{
    const struct named *n = wanted;
    const struct local_topic *topic = item;
    return !topic->is_pattern && text_equal(registry_name(n->registry, topic->registered), n->name);
}

static bool is_pattern_of(const void *item, const void *wanted)
{
    const struct named *n = wanted;
    const struct local_topic *topic = item;
    return topic->is_pattern && text_equal(pattern_text(n->patterns, topic->pattern), n->name);
}

struct local_topic *local_find_named(
    const struct local_topics *l, const struct registry *r, uint64_t hash, struct text name)
{
    return map_find(&l->parts[hash >> 58], hash, is_named, &(struct named){r, NULL, name});
}

struct local_topic *local_find_pattern(
    const struct local_topics *l, const struct patterns *p, uint64_t hash, struct text text)
{
    return map_find(&l->parts[hash >> 58], hash, is_pattern_of, &(struct named){NULL, p, text});
}

/* --- the subscriber's side -------------------------------------------------------------------- */

void subscriber_init(struct subscriber *s)
{
    *s = (struct subscriber){.cap = 1};
}

static struct subscription *slots(struct subscriber *s)
{
    return s->cap == 1 ? &s->one : s->many;
}

static uint32_t home(const struct local_topic *topic, uint32_t cap)
{
    return (uint32_t)topic->hash & (cap - 1);
}

struct subscription *subscriber_find(struct subscriber *s, const struct local_topic *topic)
{
    struct subscription *slot = slots(s);
    if (s->cap <= SUBSCRIBER_LINEAR) {
        for (uint32_t i = 0; i < s->count; i++)
            if (slot[i].topic == topic)
                return &slot[i];
        return NULL;
    }
    for (uint32_t i = home(topic, s->cap); slot[i].topic; i = (i + 1) & (s->cap - 1))
        if (slot[i].topic == topic)
            return &slot[i];
    return NULL;
}

struct subscription *subscriber_find_by(struct subscriber *s, uint64_t hash, uint32_t serial)
{
    struct subscription *slot = slots(s);
    if (s->cap <= SUBSCRIBER_LINEAR) {
        for (uint32_t i = 0; i < s->count; i++)
            if (slot[i].topic->hash == hash && slot[i].topic->serial == serial)
                return &slot[i];
        return NULL;
    }
    for (uint32_t i = (uint32_t)hash & (s->cap - 1); slot[i].topic; i = (i + 1) & (s->cap - 1))
        if (slot[i].topic->hash == hash && slot[i].topic->serial == serial)
            return &slot[i];
    return NULL;
}

struct subscription *subscriber_next(struct subscriber *s, uint32_t *at)
{
    struct subscription *slot = slots(s);
    while (*at < s->cap)
        if (slot[(*at)++].topic)
            return &slot[*at - 1];
    return NULL;
}

struct local_topic *subscriber_any(struct subscriber *s)
{
    if (s->count == 0)
        return NULL;
    struct subscription *slot = slots(s);
    uint32_t at = 0;
    /* In a table it starts elsewhere at every count: who takes one out after the other would else
     * walk over all the slots that are free already, each time. */
    if (s->cap > SUBSCRIBER_LINEAR)
        at = s->count * 2654435769u;
    while (!slot[at & (s->cap - 1)].topic)
        at++;
    return slot[at & (s->cap - 1)].topic;
}

/* Puts a subscription into a free slot and tells the other half where that is. */
static void settle(
    struct subscription *slot, uint32_t cap, uint32_t in_row, struct subscription subscription)
{
    uint32_t at = in_row;
    if (cap > SUBSCRIBER_LINEAR) {
        at = home(subscription.topic, cap);
        while (slot[at].topic)
            at = (at + 1) & (cap - 1);
    }
    slot[at] = subscription;
    local_places(subscription.topic)[subscription.place].slot = at;
}

static bool subscriber_resize(struct subscriber *s, uint32_t cap)
{
    struct subscription *bigger = calloc(cap, sizeof *bigger);
    if (!bigger)
        return false;
    struct subscription *old = slots(s);
    uint32_t row = 0;
    for (uint32_t i = 0; i < s->cap; i++)
        if (old[i].topic)
            settle(bigger, cap, row++, old[i]);
    if (s->cap > 1)
        free(s->many);
    s->many = bigger;
    s->cap = cap;
    return true;
}

static bool subscriber_reserve(struct subscriber *s)
{
    uint32_t room = s->cap <= SUBSCRIBER_LINEAR ? s->cap : s->cap - s->cap / 4;
    if (s->count < room)
        return true;
    MUST(s->cap <= UINT32_MAX / 4);
    return subscriber_resize(s, s->cap == 1 ? 2 : s->cap == SUBSCRIBER_LINEAR ? 32 : s->cap * 2);
}

static void subscriber_remove(struct subscriber *s, uint32_t at)
{
    struct subscription *slot = slots(s);
    s->count--;
    if (s->cap <= SUBSCRIBER_LINEAR) {
        slot[at] = slot[s->count];
        slot[s->count].topic = NULL;
        if (at < s->count)
            local_places(slot[at].topic)[slot[at].place].slot = at;
    } else {
        for (uint32_t i = (at + 1) & (s->cap - 1); slot[i].topic; i = (i + 1) & (s->cap - 1)) {
            uint32_t from = home(slot[i].topic, s->cap);
            if (((i - from) & (s->cap - 1)) < ((i - at) & (s->cap - 1)))
                continue;
            slot[at] = slot[i];
            local_places(slot[at].topic)[slot[at].place].slot = at;
            at = i;
        }
        slot[at].topic = NULL;
    }
    if (s->count == 0 && s->cap > 1) {
        free(s->many);
        subscriber_init(s);
    } else if (s->cap > 32 && s->count < s->cap / 8) {
        (void)subscriber_resize(s, s->cap / 4 < 32 ? 32 : s->cap / 4);
    }
}

/* --- the topic's side ------------------------------------------------------------------------- */

static bool topic_resize(struct local_topic *topic, uint32_t cap)
{
    struct place *bigger = realloc(topic->cap == 1 ? NULL : topic->many, cap * sizeof *bigger);
    if (!bigger)
        return false;
    if (topic->cap == 1)
        bigger[0] = topic->one;
    for (uint32_t i = topic->cap; i < cap; i++)
        bigger[i] = (struct place){NULL, 0};
    topic->many = bigger;
    topic->cap = cap;
    return true;
}

static bool topic_reserve(struct local_topic *topic)
{
    if (topic->count < topic->cap)
        return true;
    MUST(topic->cap <= UINT32_MAX / 4);
    return topic_resize(topic, topic->cap == 1 ? 4 : topic->cap + topic->cap / 2);
}

/* Puts a place where it belongs and tells the other half. */
static void place_at(struct place *places, uint32_t at, struct place place)
{
    places[at] = place;
    slots(place.subscriber)[place.slot].place = at;
}

/* The places lie in four segments: level 1, and of level 2 those who get events, the others, and
 * those of the others who watch. */
enum segment { PLAIN, EVENTS, ENVELOPED, WATCHING };

static enum segment segment_of(struct join join)
{
    return !join.enveloped ? PLAIN : join.events ? EVENTS : join.watches ? WATCHING : ENVELOPED;
}

/* Makes a free place at the end of a segment, for which there is room: the first place of each
 * segment behind it goes to that segment's end. */
static uint32_t place_open(struct local_topic *topic, enum segment segment)
{
    struct place *places = local_places(topic);
    uint32_t hole = topic->count++;
    if (segment == WATCHING) {
        topic->watchers++;
        return hole;
    }
    if (topic->watchers > 0) {
        place_at(places, hole, places[hole - topic->watchers]);
        hole -= topic->watchers;
    }
    if (segment == ENVELOPED)
        return hole;
    uint32_t first = topic->plain + (uint32_t)topic->events;
    if (first < hole)
        place_at(places, hole, places[first]);
    if (segment == EVENTS) {
        topic->events++;
        return first;
    }
    if (topic->plain < first)
        place_at(places, first, places[topic->plain]);
    return topic->plain++;
}

/* The reverse: the last place of its own segment and of each behind it moves forward. */
static void place_close(struct local_topic *topic, uint32_t at)
{
    struct place *places = local_places(topic);
    uint32_t watching = topic->count - (uint32_t)topic->watchers;
    uint32_t enveloped = topic->plain + (uint32_t)topic->events;
    if (at < topic->plain) {
        uint32_t last = --topic->plain;
        if (at != last)
            place_at(places, at, places[last]);
        at = last;
    } else if (at < enveloped) {
        topic->events--;
    }
    if (at < enveloped) {
        if (at != enveloped - 1)
            place_at(places, at, places[enveloped - 1]);
        at = enveloped - 1;
    }
    if (at >= watching) {
        topic->watchers--;
    } else {
        if (at != watching - 1)
            place_at(places, at, places[watching - 1]);
        at = watching - 1;
    }
    uint32_t last = --topic->count;
    if (at != last)
        place_at(places, at, places[last]);
}

static void topic_free(struct local_topics *l, struct local_topic *topic)
{
    map_remove(part_of(l, topic->hash), topic->hash, topic);
    if (topic->cap > 1)
        free(topic->many);
    slab_free(&l->topics, topic);
}

static struct local_topic *topic_new(struct local_topics *l, struct local_key key)
{
    struct local_topic *topic = slab_new(&l->topics);
    if (!topic)
        return NULL;
    *topic = (struct local_topic){.key = key.key,
        .hash = key.hash,
        .cap = 1,
        .serial = ++l->serial & INT32_MAX,
        .is_pattern = key.is_pattern};
    if (!map_add(part_of(l, key.hash), key.hash, topic)) {
        slab_free(&l->topics, topic);
        return NULL;
    }
    return topic;
}

/* --- both ------------------------------------------------------------------------------------- */

bool local_join(
    struct local_topics *l, struct local_key key, struct subscriber *s, struct join join)
{
    struct local_topic *topic = local_find(l, key.hash, key.key);
    if (!topic)
        topic = topic_new(l, key);
    if (!topic)
        return false;
    bool full = topic->count >= LOCAL_MOST && (join.enveloped || topic->plain < topic->count);
    if (full || !topic_reserve(topic) || !subscriber_reserve(s)) {
        if (topic->count == 0)
            topic_free(l, topic);
        return false;
    }
    if (topic->count == 0)
        topic->delivered = join.delivered;
    uint32_t place = place_open(topic, segment_of(join));
    local_places(topic)[place] = (struct place){s, 0};
    settle(slots(s), s->cap, s->count,
        (struct subscription){topic, place, (uint8_t)join.policy, join.watches});
    s->count++;
    topic->lenient += join.policy != POLICY_DISCONNECT;
    return true;
}

void local_change(struct subscription *subscription, enum policy policy, bool watches)
{
    struct local_topic *topic = subscription->topic;
    topic->lenient -= subscription->policy != POLICY_DISCONNECT;
    topic->lenient += policy != POLICY_DISCONNECT;
    subscription->policy = (uint8_t)policy;
    if (subscription->watches == watches)
        return;
    struct place place = local_places(topic)[subscription->place];
    place_close(topic, subscription->place);
    place_at(local_places(topic), place_open(topic, watches ? WATCHING : ENVELOPED), place);
    subscription->watches = watches;
}

bool local_leave(struct local_topics *l, struct local_topic *topic, struct subscriber *s)
{
    struct subscription *subscription = subscriber_find(s, topic);
    MUST(subscription);
    topic->lenient -= subscription->policy != POLICY_DISCONNECT;
    uint32_t place = subscription->place;
    subscriber_remove(s, (uint32_t)(subscription - slots(s)));
    place_close(topic, place);
    if (topic->cap > 16 && topic->count < topic->cap / 4)
        (void)topic_resize(topic, topic->cap / 2);
    if (topic->count > 0)
        return false;
    topic_free(l, topic);
    return true;
}
