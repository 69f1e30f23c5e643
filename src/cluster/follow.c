#include "cluster/follow.h"

#include <stdlib.h>
#include <string.h>

#include "broker/pattern.h"
#include "broker/relay.h"
#include "cluster/counts.h"
#include "cluster/followed.h"
#include "cluster/people.h"
#include "cluster/scripts.h"

/* CHANNELS: in one SUBSCRIBE. LINGER: seconds that a topic is followed on when nobody wants it any
 * more. REFRESH: seconds after which a topic's position is looked at again; TICKS: steps of a
 * second. */
enum { CHANNELS = 256, LINGER = 10, REFRESH = 1200, TICKS = 10 };

/* --- the table -------------------------------------------------------------------------------- */

static bool is_named(const void *item, const void *wanted)
{
    return text_equal(followed_name(item), *(const struct text *)wanted);
}

struct followed *followed_find(struct cluster *c, uint64_t hash, struct text name)
{
    return map_find(&c->topics, hash, is_named, &name);
}

static void want(struct followed *f)
{
    list_remove(&f->queue);
    f->refused = false;
    f->state = FOLLOW_AWAY;
    if (!redis_link_is_up(f->shard->subscriber))
        return;
    f->state = FOLLOW_WANTED;
    list_append(&f->shard->wanting, &f->queue);
}

void followed_ask(struct followed *f)
{
    list_remove(&f->queue);
    f->refused = false;
    f->state = FOLLOW_ASKING;
    list_append(&f->shard->asking, &f->queue);
}

static struct followed *followed_new(struct cluster *c, uint64_t hash, struct text name)
{
    struct followed *f = malloc(sizeof *f + name.len);
    if (!f)
        return NULL;
    *f = (struct followed){.shard = cluster_shard(c, name),
        .hash = hash,
        .age = (uint32_t)(hash % REFRESH), /* not all at once */
        .name_len = (uint32_t)name.len};
    memcpy(f->name, name.at, name.len);
    if (!map_add(&c->topics, hash, f)) {
        free(f);
        return NULL;
    }
    list_init(&f->node);
    counts_add(&f->counted, f->shard->commands, followed_name(f));
    list_init(&f->queue);
    list_append(&f->shard->topics, &f->node);
    f->shard->topic_count++;
    want(f);
    metric_add(&c->metrics, METRIC_cluster_topics, 1);
    return f;
}

void followed_answer(struct followed *f, enum errand_outcome outcome)
{
    struct errand *e;
    while ((e = errands_take(&f->wanted)) != NULL) {
        e->epoch = f->epoch;
        e->offset = f->offset;
        cluster_return(f->shard->cluster, e, outcome);
    }
}

/* The publishes whose messages have come, or will not for now. */
void followed_came_to(struct followed *f, uint64_t epoch, uint64_t offset)
{
    while (
        f->behind.first && (f->behind.first->epoch != epoch || f->behind.first->offset <= offset))
        cluster_return(f->shard->cluster, errands_take(&f->behind), ERRAND_DONE);
}

static void followed_free(struct cluster *c, struct followed *f)
{
    followed_answer(f, ERRAND_UNAVAILABLE);
    followed_came_to(f, 0, 0);
    followed_drop_held(f);
    if (f->shard->swept == &f->node)
        f->shard->swept = f->node.next;
    counts_remove(&c->counts, &f->counted);
    list_remove(&f->queue);
    list_remove(&f->node);
    f->shard->topic_count--;
    map_remove(&c->topics, f->hash, f);
    metric_add(&c->metrics, METRIC_cluster_topics, -1);
    free(f);
}

/* --- errands ---------------------------------------------------------------------------------- */

static bool is_ready(const struct followed *f, const struct errand *e)
{
    return f->live && (!e->watches || f->watching);
}

void followed_ready(struct followed *f)
{
    struct errands waiting = f->wanted;
    struct errand *e;
    f->wanted = (struct errands){NULL, NULL};
    while ((e = errands_take(&waiting)) != NULL) {
        if (is_ready(f, e))
            cluster_return(f->shard->cluster, e, ERRAND_DONE);
        else
            errands_add(&f->wanted, e);
    }
}

void follow_topic(struct cluster *c, struct errand *e)
{
    struct followed *f = followed_find(c, e->hash, e->name);
    struct shard *s = cluster_shard(c, e->name);
    if (f && is_ready(f, e)) {
        f->quiet = 0;
        cluster_return(c, e, ERRAND_DONE);
        return;
    }
    if (!s->up) {
        cluster_return(c, e, ERRAND_UNAVAILABLE);
        return;
    }
    if (!f && !(f = followed_new(c, e->hash, e->name))) {
        cluster_return(c, e, ERRAND_NO_MEMORY);
        return;
    }
    f->quiet = 0;
    errands_add(&f->wanted, e);
    if (e->watches && !f->watched) {
        f->watched = true;
        if (f->state > FOLLOW_WANTED)
            people_watch(s, followed_name(f));
    }
}

bool follow_await(struct cluster *c, struct errand *e)
{
    struct followed *f = followed_find(c, e->hash, e->name);
    struct relay_place place;
    if (!f || !f->live || !redis_link_is_up(f->shard->subscriber) ||
        !route_place(c->route, f->hash, followed_name(f), &place))
        return false;
    if (place.epoch != e->epoch || place.offset >= e->offset)
        return false;
    errands_add(&f->behind, e);
    return true;
}

/* --- the link --------------------------------------------------------------------------------- */

void follow_up(struct shard *s)
{
    s->round++;
    for (struct list *at = s->topics.next; at != &s->topics; at = at->next)
        want(LIST_ITEM(at, struct followed, node));
    pattern_channels_up(s);
}

void follow_down(struct shard *s)
{
    for (struct list *at = s->topics.next, *next; at != &s->topics; at = next) {
        struct followed *f = LIST_ITEM(at, struct followed, node);
        next = at->next;
        list_remove(&f->queue);
        f->state = FOLLOW_AWAY;
        f->watching = false;
        f->again = false;
        followed_drop_held(f);
        followed_answer(f, ERRAND_UNAVAILABLE);
        followed_came_to(f, 0, 0);
        if (!f->live)
            followed_free(s->cluster, f);
    }
    pattern_channels_down(s);
}

/* The same once more, for those of whom it has to be known what had been published by now. */
static void subscribe_again(struct shard *s)
{
    struct redis_link *l = s->subscriber;
    while (!list_empty(&s->settling) && redis_link_is_up(l) && !redis_link_full(l)) {
        unsigned count = 0;
        for (struct list *at = s->settling.next; at != &s->settling && count < CHANNELS;
             at = at->next)
            count++;
        redis_begin(l, 1 + count);
        redis_arg(l, TEXT("SUBSCRIBE"));
        for (; count > 0; count--) {
            struct followed *f = LIST_ITEM(s->settling.next, struct followed, queue);
            list_remove(&f->queue);
            cluster_arg(l, TEXT("hermes:m:"), followed_name(f));
        }
        redis_send(l, NULL, NULL);
    }
}

/* SUBSCRIBE, once for many; what follows is asked for when it is confirmed. */
static void subscribe(struct shard *s)
{
    struct redis_link *l = s->subscriber;
    while (!list_empty(&s->wanting) && redis_link_is_up(l) && !redis_link_full(l)) {
        unsigned count = 0;
        for (struct list *at = s->wanting.next; at != &s->wanting && count < CHANNELS;
             at = at->next)
            count += 1 + LIST_ITEM(at, struct followed, queue)->watched;
        redis_begin(l, 1 + count);
        redis_arg(l, TEXT("SUBSCRIBE"));
        while (count > 0) {
            struct followed *f = LIST_ITEM(s->wanting.next, struct followed, queue);
            list_remove(&f->queue);
            f->state = FOLLOW_SUBSCRIBING;
            cluster_arg(l, TEXT("hermes:m:"), followed_name(f));
            count--;
            if (f->watched) {
                cluster_arg(l, TEXT("hermes:w:"), followed_name(f));
                count--;
            }
        }
        redis_send(l, NULL, NULL);
    }
}

static void unsubscribe(struct followed *f)
{
    struct redis_link *l = f->shard->subscriber;
    if (!redis_link_is_up(l))
        return;
    redis_begin(l, f->watched ? 3 : 2);
    redis_arg(l, TEXT("UNSUBSCRIBE"));
    cluster_arg(l, TEXT("hermes:m:"), followed_name(f));
    if (f->watched)
        cluster_arg(l, TEXT("hermes:w:"), followed_name(f));
    redis_send(l, NULL, NULL);
}

void followed_give_up(struct followed *f)
{
    unsubscribe(f);
    followed_free(f->shard->cluster, f);
}

void follow_turn(struct shard *s)
{
    subscribe(s);
    subscribe_again(s);
    pattern_channels_turn(s);
    positions_ask(s);
}

/* --- what comes ------------------------------------------------------------------------------- */

/* What stands behind such a prefix. */
static bool behind(struct text channel, const char *prefix, struct text *rest)
{
    size_t len = strlen(prefix);
    if (channel.len < len || memcmp(channel.at, prefix, len) != 0)
        return false;
    *rest = (struct text){channel.at + len, channel.len - len};
    return true;
}

static void ignore(const struct resp *answer, void *user)
{
    (void)answer;
    (void)user;
}

/* Nobody may need it any more, which is Redis' to say. Where it cannot be asked now, the topic is
 * forgotten later. */
static void left(struct shard *s, struct text name)
{
    struct cluster *c = s->cluster;
    struct redis_link *l = s->commands;
    struct text segments = name;
    if (!redis_link_is_up(l) || redis_link_full(l) ||
        followed_find(c, registry_hash(&c->route->registry, name), name))
        return;
    redis_begin(l, 3 + 2 + 3);
    redis_arg(l, TEXT("EVALSHA"));
    redis_arg(l, redis_script(l, SCRIPT_LEAVE));
    redis_arg_number(l, 2);
    cluster_arg(l, TEXT("hermes:t:"), name);
    cluster_arg(l, TEXT("hermes:h:"), name);
    cluster_arg(l, TEXT("hermes:m:"), name);
    redis_arg(l, TEXT("hermes:p:"));
    cluster_arg(l, TEXT("hermes:p:"), segment_take(&segments));
    redis_send(l, ignore, NULL);
}

void follow_confirmed(struct shard *s, struct text channel, bool yes)
{
    struct cluster *c = s->cluster;
    struct text name;
    struct followed *f;
    if (!yes) {
        if (behind(channel, "hermes:m:", &name))
            left(s, name);
        return;
    }
    if (behind(channel, "hermes:m:", &name)) {
        f = followed_find(c, registry_hash(&c->route->registry, name), name);
        if (f && f->state == FOLLOW_SUBSCRIBING)
            followed_ask(f);
        else if (f && f->state == FOLLOW_SETTLING)
            followed_settle(f);
    } else if (behind(channel, "hermes:w:", &name)) {
        f = followed_find(c, registry_hash(&c->route->registry, name), name);
        if (f && f->watched) {
            f->watching = true;
            followed_ready(f);
        }
    } else {
        pattern_channels_confirmed(s, channel);
    }
}

/* --- once a second ---------------------------------------------------------------------------- */

/* Whether it has been let go of. */
static bool let_go(struct cluster *c, struct followed *f)
{
    if (f->wanted.first || f->state == FOLLOW_SETTLING || f->state == FOLLOW_FETCHING ||
        f->state == FOLLOW_ASKING || f->state == FOLLOW_SUBSCRIBING)
        return false;
    if (f->counted.written > 0 && !redis_link_is_up(f->shard->commands))
        return false; /* or its number stays there for as long as this broker does */
    if (redis_link_full(f->shard->subscriber) || redis_link_full(f->shard->commands))
        return false; /* when a crowd has left it takes more than one look */
    if (f->live && route_unfollow(c->route, f->hash, followed_name(f), f->quiet >= LINGER)) {
        f->quiet = 0;
        return false;
    }
    if (f->quiet++ < LINGER)
        return false;
    unsubscribe(f);
    followed_free(c, f);
    return true;
}

/* How many subscribe here now. */
static void count(struct cluster *c, struct followed *f)
{
    struct relay_place place;
    if (f->live && route_place(c->route, f->hash, followed_name(f), &place))
        counts_note(&c->counts, &f->counted, place.subscribers);
}

static void look_at(struct cluster *c, struct followed *f)
{
    uint32_t second = c->ticks / TICKS;
    count(c, f);
    if (f->second == second)
        return; /* where there are few of them each is looked at more often */
    f->second = second;
    if (f->refused)
        followed_ask(f);
    if (let_go(c, f))
        return;
    /* Now and then each is asked for, so that Redis does not forget it; and should what came not be
     * what Redis says it was, it is found out. */
    if (f->state == FOLLOW_LIVE && f->shard->up && ++f->age % REFRESH == 0)
        followed_ask(f);
}

void follow_tick(struct cluster *c)
{
    c->ticks++;
    for (unsigned i = 0; i < c->shard_count; i++) {
        struct shard *s = &c->shards[i];
        for (size_t left = s->topic_count / TICKS + 1; left > 0; left--) {
            if (!s->swept || s->swept == &s->topics)
                s->swept = s->topics.next;
            if (s->swept == &s->topics)
                break;
            struct followed *f = LIST_ITEM(s->swept, struct followed, node);
            s->swept = s->swept->next;
            look_at(c, f);
        }
    }
    pattern_channels_tick(c);
}

void follow_lost(struct shard *s)
{
    for (struct list *at = s->topics.next; at != &s->topics; at = at->next) {
        struct followed *f = LIST_ITEM(at, struct followed, node);
        if (!f->live)
            followed_answer(f, ERRAND_UNAVAILABLE);
    }
}

void follow_fini(struct cluster *c)
{
    for (unsigned i = 0; i < c->shard_count; i++) {
        struct shard *s = &c->shards[i];
        for (struct list *at = s->topics.next, *next; at != &s->topics; at = next) {
            struct followed *f = LIST_ITEM(at, struct followed, node);
            next = at->next;
            if (f->live)
                route_unfollow(c->route, f->hash, followed_name(f), true);
            followed_free(c, f);
        }
        pattern_channels_fini(s);
    }
    map_fini(&c->topics);
}
