/* Patterns, without asking Redis to match them: every message is published on the channel of its
 * topic's first segment, and on one for all, and who subscribes by patterns that may match it
 * listens there. The registry knows which patterns it is for. */
#include <stdlib.h>
#include <string.h>

#include "broker/pattern.h"
#include "cluster/followed.h"

/* What strangers may make of them; past that their patterns listen to everything. */
enum { CHANNELS_MOST = 4096 };

enum channel_state { CHANNEL_AWAY, CHANNEL_WANTED, CHANNEL_ASKED, CHANNEL_CONFIRMED };

struct pattern_channel {
    struct list node; /* in its shard's */
    enum channel_state state;
    bool known; /* it was confirmed before: somebody relies on it */
    bool people;
    struct errands waiting;
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

static struct pattern_channel *find(const struct shard *s, struct text segment, bool people)
{
    for (struct list *at = s->patterns.next; at != &s->patterns; at = at->next) {
        struct pattern_channel *p = LIST_ITEM(at, struct pattern_channel, node);
        if (p->people == people && text_equal(segment_of(p), segment))
            return p;
    }
    return NULL;
}

static void want(const struct shard *s, struct pattern_channel *p)
{
    p->state = redis_link_is_up(s->subscriber) ? CHANNEL_WANTED : CHANNEL_AWAY;
}

static struct pattern_channel *make(struct shard *s, struct text segment, bool people)
{
    struct pattern_channel *p = malloc(sizeof *p + segment.len);
    if (!p)
        return NULL;
    *p = (struct pattern_channel){.people = people, .segment_len = (uint32_t)segment.len};
    memcpy(p->segment, segment.at, segment.len);
    list_append(&s->patterns, &p->node);
    s->pattern_count++;
    want(s, p);
    return p;
}

/* --- errands ---------------------------------------------------------------------------------- */

/* An errand waits for channels one after the other, so that it is in one list at a time: `left`
 * says which is next. */
static void go_on(struct cluster *c, struct errand *e)
{
    unsigned kinds = e->watches ? 2 : 1;
    c->patternless = 0; /* somebody is about to join a pattern, which is not in the index yet */
    for (; e->left < c->shard_count * kinds; e->left++) {
        struct shard *s = &c->shards[e->left / kinds];
        bool people = e->left % kinds == 1;
        struct text segment = class_of(e->name);
        struct pattern_channel *p = find(s, segment, people);
        if (!p && s->pattern_count >= CHANNELS_MOST)
            p = find(s, segment = TEXT(""), people);
        if (p && p->known)
            continue;
        if (!s->up) {
            cluster_return(c, e, ERRAND_UNAVAILABLE);
            return;
        }
        if (!p && !(p = make(s, segment, people))) {
            cluster_return(c, e, ERRAND_NO_MEMORY);
            return;
        }
        errands_add(&p->waiting, e);
        return;
    }
    cluster_return(c, e, ERRAND_DONE);
}

void follow_pattern(struct cluster *c, struct errand *e)
{
    e->left = 0;
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
        p->state = CHANNEL_AWAY;
        answer(s, p, false);
    }
}

void pattern_channels_turn(struct shard *s)
{
    struct redis_link *l = s->subscriber;
    for (struct list *at = s->patterns.next; at != &s->patterns; at = at->next) {
        struct pattern_channel *p = LIST_ITEM(at, struct pattern_channel, node);
        if (p->state != CHANNEL_WANTED || redis_link_full(l))
            continue;
        p->state = CHANNEL_ASKED;
        redis_begin(l, 2);
        redis_arg(l, TEXT("SUBSCRIBE"));
        cluster_arg(l, prefix_of(p), segment_of(p));
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

void pattern_channels_confirmed(struct shard *s, struct text channel)
{
    for (struct list *at = s->patterns.next; at != &s->patterns; at = at->next) {
        struct pattern_channel *p = LIST_ITEM(at, struct pattern_channel, node);
        struct text prefix = prefix_of(p);
        if (p->state != CHANNEL_ASKED || channel.len != prefix.len + p->segment_len ||
            memcmp(channel.at, prefix.at, prefix.len) != 0 ||
            memcmp(channel.at + prefix.len, p->segment, p->segment_len) != 0)
            continue;
        p->state = CHANNEL_CONFIRMED;
        if (p->known && !p->people)
            s->missed = true;
        p->known = true;
        answer(s, p, true);
        return;
    }
}

bool pattern_channels_cover(const struct shard *s, struct text topic)
{
    return s->pattern_count > 0 &&
           (find(s, TEXT(""), false) || find(s, segment_take(&topic), false));
}

void pattern_channels_tick(struct cluster *c)
{
    bool missed = false;
    for (unsigned i = 0; i < c->shard_count; i++) {
        missed |= c->shards[i].missed;
        c->shards[i].missed = false;
    }
    if (missed)
        tell_of_loss(c);
    if (patterns_used(&c->route->patterns)) {
        c->patternless = 0;
        return;
    }
    if (++c->patternless < 100) /* ticks: whoever was told of a channel may not have joined yet */
        return;
    for (unsigned i = 0; i < c->shard_count; i++) {
        struct shard *s = &c->shards[i];
        for (struct list *at = s->patterns.next, *next; at != &s->patterns; at = next) {
            struct pattern_channel *p = LIST_ITEM(at, struct pattern_channel, node);
            next = at->next;
            if (p->waiting.first)
                continue;
            if (redis_link_is_up(s->subscriber)) {
                redis_begin(s->subscriber, 2);
                redis_arg(s->subscriber, TEXT("UNSUBSCRIBE"));
                cluster_arg(s->subscriber, prefix_of(p), segment_of(p));
                redis_send(s->subscriber, NULL, NULL);
            }
            list_remove(&p->node);
            s->pattern_count--;
            free(p);
        }
    }
}

void pattern_channels_fini(struct shard *s)
{
    for (struct list *at = s->patterns.next, *next; at != &s->patterns; at = next) {
        struct pattern_channel *p = LIST_ITEM(at, struct pattern_channel, node);
        next = at->next;
        answer(s, p, false);
        free(p);
    }
    list_init(&s->patterns);
}
