/* Patterns, without asking Redis to match them: every message is published on the channel of its
 * topic's first segment, and on one for all, and who subscribes by patterns that may match it
 * listens there. The registry knows which patterns it is for.
 *
 * A channel goes when for some seconds neither the index had a pattern for it nor anybody was told
 * that it is there, who may be about to join. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "broker/pattern.h"
#include "cluster/followed.h"

/* CHANNELS_MOST: what strangers may make of them; past that their patterns listen to everything.
 * BATCH: in one SUBSCRIBE. LINGER: ticks, twice PATTERN_STAYS_MS. LOOKS: at channels, of a server
 * in a tick. */
enum { CHANNELS_MOST = 4096, BATCH = 256, LINGER = 100, LOOKS = 64 };

enum channel_state { CHANNEL_AWAY, CHANNEL_WANTED, CHANNEL_ASKED, CHANNEL_CONFIRMED };

struct pattern_channel {
    struct list node;  /* in its shard's */
    struct list queue; /* in its shard's `patterns_wanting` */
    enum channel_state state;
    bool known; /* it was confirmed before: somebody relies on it */
    bool people;
    bool stands_in; /* of all topics, for patterns that there were too many channels for */
    uint32_t used;  /* the cluster's tick when it was wanted last */
    struct errands waiting;
    uint64_t hash;
    uint32_t segment_len;
    char segment[]; /* empty: of all topics */
};

static struct text prefix_of(const struct pattern_channel *p)
{
    return p->people ? TEXT("hermes:wp:") : TEXT("hermes:p:");
}

static struct text segment_of(const struct pattern_channel *p)
{
    return (struct text){p->segment, p->segment_len};
}

/* The literal first segment of a pattern; empty where that is a wildcard. */
static struct text class_of(struct text pattern)
{
    struct text segment = segment_take(&pattern);
    bool wild = segment_is_star(segment) || segment_is_rest(segment);
    return wild ? TEXT("") : segment;
}

struct wanted {
    struct text segment;
    bool people;
};

static bool is_wanted(const void *item, const void *wanted)
{
    const struct pattern_channel *p = item;
    const struct wanted *w = wanted;
    return p->people == w->people && text_equal(segment_of(p), w->segment);
}

static uint64_t hash_of(const struct shard *s, struct text segment, bool people)
{
    return registry_hash(&s->cluster->route->registry, segment) + people;
}

static struct pattern_channel *find(const struct shard *s, struct text segment, bool people)
{
    struct wanted wanted = {segment, people};
    return map_find(&s->pattern_names, hash_of(s, segment, people), is_wanted, &wanted);
}

static void want(struct shard *s, struct pattern_channel *p)
{
    list_remove(&p->queue);
    p->state = CHANNEL_AWAY;
    if (!redis_link_is_up(s->subscriber))
        return;
    p->state = CHANNEL_WANTED;
    list_append(&s->patterns_wanting, &p->queue);
}

static struct pattern_channel *make(struct shard *s, struct text segment, bool people)
{
    struct pattern_channel *p = malloc(sizeof *p + segment.len);
    if (!p)
        return NULL;
    *p = (struct pattern_channel){.people = people,
        .used = s->cluster->ticks,
        .hash = hash_of(s, segment, people),
        .segment_len = (uint32_t)segment.len};
    memcpy(p->segment, segment.at, segment.len);
    if (!map_add(&s->pattern_names, p->hash, p)) {
        free(p);
        return NULL;
    }
    list_init(&p->queue);
    list_append(&s->patterns, &p->node);
    s->pattern_count++;
    want(s, p);
    return p;
}

static void channel_free(struct shard *s, struct pattern_channel *p)
{
    if (s->patterns_swept == &p->node)
        s->patterns_swept = p->node.next;
    list_remove(&p->queue);
    list_remove(&p->node);
    map_remove(&s->pattern_names, p->hash, p);
    s->pattern_count--;
    free(p);
}

/* --- errands ---------------------------------------------------------------------------------- */

/* The one that a pattern with that first segment listens to, made if need be; NULL when there is no
 * memory, or the server is away. */
static struct pattern_channel *channel_for(struct shard *s, struct text segment, bool people)
{
    struct pattern_channel *p = find(s, segment, people);
    bool stands_in = !p && segment.len > 0 && s->pattern_count >= CHANNELS_MOST;
    if (stands_in)
        p = find(s, segment = TEXT(""), people);
    if (!p && s->up)
        p = make(s, segment, people);
    if (p)
        p->stands_in |= stands_in;
    return p;
}

/* An errand waits for channels one after the other, so that it is in one list at a time, and all
 * are looked at again then: one may have gone meanwhile, and whoever is told that they are there
 * has the whole time to join. */
static void go_on(struct cluster *c, struct errand *e)
{
    unsigned kinds = e->watches ? 2 : 1;
    for (unsigned i = 0; i < c->shard_count * kinds; i++) {
        struct shard *s = &c->shards[i / kinds];
        struct pattern_channel *p = channel_for(s, class_of(e->name), i % kinds == 1);
        if (p)
            p->used = c->ticks;
        if (p && p->known)
            continue;
        if (p && s->up)
            errands_add(&p->waiting, e);
        else
            cluster_return(c, e, s->up ? ERRAND_NO_MEMORY : ERRAND_UNAVAILABLE);
        return;
    }
    e->offset = clock_ms();
    cluster_return(c, e, ERRAND_DONE);
}

void follow_pattern(struct cluster *c, struct errand *e)
{
    go_on(c, e);
}

static void answer(struct shard *s, struct pattern_channel *p, bool done)
{
    struct errands waiting = p->waiting;
    struct errand *e;
    p->waiting = (struct errands){NULL, NULL};
    while ((e = errands_take(&waiting)) != NULL) {
        if (done)
            go_on(s->cluster, e);
        else
            cluster_return(s->cluster, e, ERRAND_UNAVAILABLE);
    }
}

/* --- the link --------------------------------------------------------------------------------- */

void pattern_channels_up(struct shard *s)
{
    for (struct list *at = s->patterns.next; at != &s->patterns; at = at->next)
        want(s, LIST_ITEM(at, struct pattern_channel, node));
}

void pattern_channels_down(struct shard *s)
{
    for (struct list *at = s->patterns.next; at != &s->patterns; at = at->next) {
        struct pattern_channel *p = LIST_ITEM(at, struct pattern_channel, node);
        list_remove(&p->queue);
        p->state = CHANNEL_AWAY;
        answer(s, p, false);
    }
}

void pattern_channels_turn(struct shard *s)
{
    struct redis_link *l = s->subscriber;
    while (!list_empty(&s->patterns_wanting) && redis_link_is_up(l) && !redis_link_full(l)) {
        unsigned count = 0;
        for (struct list *at = s->patterns_wanting.next;
             at != &s->patterns_wanting && count < BATCH; at = at->next)
            count++;
        redis_begin(l, 1 + count);
        redis_arg(l, TEXT("SUBSCRIBE"));
        for (; count > 0; count--) {
            struct pattern_channel *p =
                LIST_ITEM(s->patterns_wanting.next, struct pattern_channel, queue);
            list_remove(&p->queue);
            p->state = CHANNEL_ASKED;
            cluster_arg(l, prefix_of(p), segment_of(p));
        }
        redis_send(l, NULL, NULL);
    }
}

/* Nobody knows what was published meanwhile to topics that nobody here has heard of. */
static void tell_of_loss(struct cluster *c)
{
    struct workshop *shop = c->settings.shop;
    for (unsigned i = 0; i < shop->count; i++)
        mailbox_post(shop->route.boxes[i], (struct mail){.kind = MAIL_MISSED});
}

static struct pattern_channel *named(const struct shard *s, struct text channel)
{
    static const char *const prefixes[] = {"hermes:p:", "hermes:wp:"};
    for (int people = 0; people < 2; people++) {
        struct text prefix = text_of(prefixes[people]);
        if (text_starts_with(channel, prefix))
            return find(
                s, (struct text){channel.at + prefix.len, channel.len - prefix.len}, people == 1);
    }
    return NULL;
}

void pattern_channels_confirmed(struct shard *s, struct text channel)
{
    struct pattern_channel *p = named(s, channel);
    if (!p || p->state != CHANNEL_ASKED)
        return;
    p->state = CHANNEL_CONFIRMED;
    if (p->known && !p->people)
        s->missed = true;
    p->known = true;
    answer(s, p, true);
}

bool pattern_channels_cover(const struct shard *s, struct text topic)
{
    return s->pattern_count > 0 &&
           (find(s, TEXT(""), false) || find(s, segment_take(&topic), false));
}

/* --- letting go ------------------------------------------------------------------------------- */

/* Which of its patterns are watched, the index does not know. */
static bool is_in_use(const struct shard *s, const struct pattern_channel *p)
{
    struct patterns *patterns = &s->cluster->route->patterns;
    if (p->people && !patterns_watched(patterns))
        return false;
    return (p->people && p->stands_in) || patterns_begin_with(patterns, segment_of(p));
}

struct moving {
    struct shard *shard;
    bool moved; /* all have been */
};

static bool move(void *user, struct text segment)
{
    struct moving *m = user;
    struct shard *s = m->shard;
    if (segment.len == 0)
        return true;
    const struct pattern_channel *p = find(s, segment, false);
    m->moved &= p && p->state == CHANNEL_CONFIRMED;
    return p || (s->pattern_count < CHANNELS_MOST && make(s, segment, false));
}

/* Gives every pattern that listens to everything for want of room a channel of its own. Whether
 * all have one that is there already. */
static bool move_away(struct shard *s)
{
    struct moving m = {.shard = s, .moved = true};
    return s->up && patterns_each_first(&s->cluster->route->patterns, move, &m) && m.moved;
}

static void let_go(struct shard *s, struct pattern_channel *p)
{
    if (p->state == CHANNEL_CONFIRMED) {
        redis_begin(s->subscriber, 2);
        redis_arg(s->subscriber, TEXT("UNSUBSCRIBE"));
        cluster_arg(s->subscriber, prefix_of(p), segment_of(p));
        redis_send(s->subscriber, NULL, NULL);
    }
    channel_free(s, p);
}

static void look_at(struct shard *s, struct pattern_channel *p)
{
    uint32_t now = s->cluster->ticks;
    if (p->waiting.first || is_in_use(s, p)) {
        p->used = now;
        return;
    }
    /* While it is being subscribed it stays: or its confirmation would be taken for that of who
     * wants it next. */
    if (now - p->used < LINGER || p->state == CHANNEL_ASKED || redis_link_full(s->subscriber))
        return;
    if (p->stands_in && !p->people && !move_away(s))
        p->used = now;
    else
        let_go(s, p);
}

void pattern_channels_tick(struct cluster *c)
{
    bool missed = false;
    for (unsigned i = 0; i < c->shard_count; i++) {
        struct shard *s = &c->shards[i];
        missed |= s->missed;
        s->missed = false;
        for (unsigned left = s->pattern_count < LOOKS ? s->pattern_count : LOOKS; left > 0;
             left--) {
            if (!s->patterns_swept || s->patterns_swept == &s->patterns)
                s->patterns_swept = s->patterns.next;
            struct pattern_channel *p = LIST_ITEM(s->patterns_swept, struct pattern_channel, node);
            s->patterns_swept = s->patterns_swept->next;
            look_at(s, p);
        }
    }
    if (missed)
        tell_of_loss(c);
}

void pattern_channels_fini(struct shard *s)
{
    while (!list_empty(&s->patterns)) {
        struct pattern_channel *p = LIST_ITEM(s->patterns.next, struct pattern_channel, node);
        answer(s, p, false);
        channel_free(s, p);
    }
    map_fini(&s->pattern_names);
}
