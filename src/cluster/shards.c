/* The two connections to each Redis server, and what they tell. */
#include <stdlib.h>
#include <string.h>

#include "cluster/cluster.h"
#include "cluster/follow.h"
#include "cluster/scripts.h"

/* SILENCE_MS: after which a server that owes an answer is taken for gone. UNSENT, ANSWERS: of one
 * link, past which publishes wait. LOOK_MS: between two looks whether crowded workers have room. */
enum {
    SILENCE_MS = 4000,
    UNSENT = 4 << 20,
    ANSWERS = 20000,
    LOOK_MS = 2,
};

static void read_from_all(struct cluster *c, bool yes)
{
    for (unsigned i = 0; i < c->shard_count; i++)
        redis_link_pause(c->shards[i].subscriber, !yes);
}

static bool workers_have_room(const struct cluster *c)
{
    for (unsigned i = 0; i < c->settings.shop->count; i++)
        if (mailbox_crowded(c->route->boxes[i], c->route->crowded / 2))
            return false;
    return true;
}

static void look_for_room(uv_timer_t *timer)
{
    struct cluster *c = timer->data;
    if (!workers_have_room(c))
        return;
    uv_timer_stop(timer);
    c->crowded = false;
    read_from_all(c, true);
}

void cluster_crowded(struct cluster *c, int worker)
{
    (void)worker;
    if (c->crowded || c->closing)
        return;
    c->crowded = true;
    read_from_all(c, false);
    uv_timer_start(&c->let_go, look_for_room, LOOK_MS, LOOK_MS);
}

/* There may be several servers behind a name, or another one than before. */
static void part_strangers(struct shard *s)
{
    if (text_equal(redis_link_run(s->commands), redis_link_run(s->subscriber)))
        return;
    redis_link_break(s->commands, "the other connection is to another server");
    redis_link_break(s->subscriber, "the other connection is to another server");
}

/* What others are told by: readyz, the metrics. */
static void note_up(struct shard *s)
{
    struct cluster *c = s->cluster;
    if (redis_link_is_up(s->commands) && redis_link_is_up(s->subscriber))
        part_strangers(s);
    bool up = redis_link_is_up(s->commands) && redis_link_is_up(s->subscriber);
    if (up == s->up)
        return;
    s->up = up;
    c->up += up ? 1 : (unsigned)-1;
    metric_set(&c->metrics, METRIC_cluster_servers_up, c->up);
    atomic_store_explicit(&c->settings.shop->away, c->up < c->shard_count, memory_order_relaxed);
}

static void commands_up(struct redis_link *l, void *user)
{
    struct shard *s = user;
    (void)l;
    note_up(s);
    if (s->index == 0 && s->up)
        nodes_up(&s->cluster->nodes);
}

static void commands_down(struct redis_link *l, const char *reason, void *user)
{
    struct shard *s = user;
    (void)l;
    (void)reason;
    note_up(s);
    cluster_publish_fail_waiting(s);
    follow_lost(s);
    /* Both have to be to one server: there may be another behind the name by now. */
    redis_link_break(s->subscriber, "the other connection was lost");
    metric_add(&s->cluster->metrics, METRIC_cluster_breaks_total, 1);
}

static void commands_settled(struct redis_link *l, void *user)
{
    (void)l;
    cluster_publish_waiting(user);
}

/* Where questions and answers of the brokers come. */
static void listen_to_brokers(struct shard *s)
{
    struct redis_link *l = s->subscriber;
    struct node_text node = node_text(s->cluster->node);
    redis_begin(l, 3);
    redis_arg(l, TEXT("SUBSCRIBE"));
    redis_arg(l, TEXT(ASK_CHANNEL_ALL));
    cluster_arg(l, TEXT(ASK_CHANNEL_NODE), (struct text){node.digits, sizeof node.digits});
    redis_send(l, NULL, NULL);
}

static void subscriber_up(struct redis_link *l, void *user)
{
    struct shard *s = user;
    (void)l;
    note_up(s);
    if (s->index == 0)
        listen_to_brokers(s);
    if (s->index == 0 && s->up)
        nodes_up(&s->cluster->nodes);
    follow_up(s);
}

static void subscriber_down(struct redis_link *l, const char *reason, void *user)
{
    struct shard *s = user;
    (void)l;
    (void)reason;
    note_up(s);
    follow_down(s);
    metric_add(&s->cluster->metrics, METRIC_cluster_breaks_total, 1);
}

static void message_came(struct redis_link *l, struct text channel, struct text payload, void *user)
{
    static const char brokers[] = "hermes:c:";
    struct shard *s = user;
    (void)l;
    if (channel.len > sizeof brokers - 1 && memcmp(channel.at, brokers, sizeof brokers - 1) == 0)
        ask_message(&s->cluster->ask, payload);
    else
        follow_message(s, channel, payload);
}

static void subscribed(struct redis_link *l, struct text channel, bool yes, void *user)
{
    (void)l;
    follow_confirmed(user, channel, yes);
}

static const struct redis_link_events command_events = {
    .up = commands_up, .down = commands_down, .settled = commands_settled};
static const struct redis_link_events subscriber_events = {.up = subscriber_up,
    .down = subscriber_down,
    .message = message_came,
    .subscribed = subscribed};

static struct redis_link *open_link(struct shard *s, bool subscribes)
{
    struct cluster *c = s->cluster;
    struct redis_link_settings settings = {
        .url = &c->urls[s->index],
        .trust = c->trust,
        .subscribes = subscribes,
        .silence_ms = SILENCE_MS,
        .most_unsent = 2 * (UNSENT + 2 * c->settings.shop->limits.message_bytes),
        .most_waiting = (size_t)2 * ANSWERS,
        .scripts = subscribes ? NULL : cluster_scripts,
        .events = subscribes ? &subscriber_events : &command_events,
        .logger = c->settings.logger,
        .user = s,
    };
    return redis_link_new(&c->loop, &settings);
}

bool shards_open(struct cluster *c)
{
    bool good = true;
    for (unsigned i = 0; i < c->shard_count; i++) {
        struct shard *s = &c->shards[i];
        s->cluster = c;
        s->index = i;
        list_init(&s->topics);
        list_init(&s->wanting);
        list_init(&s->asking);
        list_init(&s->settling);
        list_init(&s->missing);
        list_init(&s->patterns);
        list_init(&s->patterns_wanting);
        s->commands = open_link(s, false);
        s->subscriber = open_link(s, true);
        good &= s->commands && s->subscriber;
    }
    return good;
}
