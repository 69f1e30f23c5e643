/* Publishing to a far topic: one script of Redis' numbers the messages, keeps them and gives them
 * to all brokers that follow the topic. */
#include <string.h>

#include "broker/pattern.h"
#include "cluster/cluster.h"
#include "cluster/follow.h"
#include "cluster/scripts.h"

static struct text first_segment(struct text topic)
{
    return segment_take(&topic);
}

/* --- the answer ------------------------------------------------------------------------------- */

/* Epoch and offset of the last message; and the topic, where it was published before. */
static bool read_place(const struct resp *answer, struct errand *e)
{
    const size_t own = 2 * HEX_DIGITS;
    const struct resp *place = answer;
    if (answer->kind == RESP_ARRAY && answer->count > 0)
        place = &answer->items[0];
    if (place->kind != RESP_TEXT || place->text.len < own ||
        (place->text.len > own && e->key.len == 0))
        return false;
    e->repeated = place->text.len > own;
    if (e->repeated)
        buf_append_text(&e->found, (struct text){place->text.at + own, place->text.len - own});
    return hex_read((struct text){place->text.at, HEX_DIGITS}, &e->epoch) &&
           hex_read((struct text){place->text.at + HEX_DIGITS, HEX_DIGITS}, &e->offset);
}

/* By its name on all brokers, by patterns on this one. */
static uint32_t subscribers(
    struct shard *s, uint64_t hash, struct text topic, const struct resp *answer)
{
    struct cluster *c = s->cluster;
    struct route_audience here = {.subscribers = 0};
    uint64_t sum = counts_sum(&c->counts, s->commands, topic, answer->items + 1, answer->count - 1);
    if (route_audience(c->route, cluster_rule(c, topic), hash, topic, &here))
        match_set_drop(here.matches);
    sum += here.subscribers;
    return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

static void published(const struct resp *answer, void *user)
{
    struct errand *e = user;
    struct shard *s = e->carrier;
    struct cluster *c = s->cluster;
    if (!answer || answer->kind == RESP_ERROR || !read_place(answer, e)) {
        if (answer && answer->kind == RESP_ERROR)
            LOG_LIMITED(c->settings.logger, LIMIT_CLUSTER, LOG_WARN, "redis refused a publish",
                LOG_TEXT("reason", answer->text));
        cluster_return(c, e, ERRAND_UNAVAILABLE);
        return;
    }
    if (e->found.failed) {
        cluster_return(c, e, ERRAND_NO_MEMORY);
        return;
    }
    struct text topic = e->repeated ? buf_text(&e->found) : e->name;
    uint64_t hash = e->repeated ? registry_hash(&c->route->registry, topic) : e->hash;
    if (e->repeated)
        e->count = 0;
    if (e->counted && answer->kind == RESP_ARRAY)
        e->subscribers = subscribers(s, hash, topic, answer);
    /* What the publisher gets of it itself comes before the answer. */
    if (e->repeated || !follow_await(c, e))
        cluster_return(c, e, ERRAND_DONE);
}

/* --- the question ----------------------------------------------------------------------------- */

static void append_frames(struct redis_link *l, const struct message *m)
{
    const char *at = m->frames;
    for (uint32_t i = 0; i < m->count; i++) {
        struct text data;
        const char *frame = at;
        at = message_frame(at, &data);
        redis_arg(l, (struct text){frame, (size_t)(at - frame)});
    }
}

static void transmit(struct shard *s, struct errand *e)
{
    struct cluster *c = s->cluster;
    struct redis_link *l = s->commands;
    const struct message *m = e->message;
    bool keeps = e->limits.messages > 0;
    bool once = e->key.len > 0;
    struct payload p = {
        .kind = PAYLOAD_MESSAGES, .count = m->count, .except = m->except, .topic = e->name};
    char head[PAYLOAD_HEAD];
    struct epoch_argument epoch = cluster_epoch(s);
    payload_head(&p, head);
    enum cluster_script script = keeps ? SCRIPT_KEEP : SCRIPT_PUBLISH;
    if (once)
        script = keeps ? SCRIPT_KEEP_ONCE : SCRIPT_PUBLISH_ONCE;
    redis_begin(l, (keeps ? 3 + 2 + 12 + m->count : 3 + 1 + 8) + once);
    redis_arg(l, TEXT("EVALSHA"));
    redis_arg(l, redis_script(l, script));
    redis_arg_number(l, (keeps ? 2 : 1) + once);
    cluster_arg(l, TEXT("hermes:t:"), e->name);
    if (keeps)
        cluster_arg(l, TEXT("hermes:h:"), e->name);
    if (once)
        cluster_arg(l, TEXT("hermes:i:"), e->key);
    redis_arg_number(l, m->count);
    redis_arg(l, epoch_argument_text(&epoch));
    redis_arg(l, TEXT(IDLE_MS));
    redis_arg_number(l, e->counted);
    cluster_arg(l, TEXT("hermes:m:"), e->name);
    redis_arg(l, TEXT("hermes:p:"));
    cluster_arg(l, TEXT("hermes:p:"), first_segment(e->name));
    redis_arg_begin(l, sizeof head + e->name.len + (keeps ? 0 : m->len));
    redis_arg_piece(l, (struct text){head, sizeof head});
    redis_arg_piece(l, e->name);
    if (keeps) {
        redis_arg_number(l, e->limits.messages);
        redis_arg_number(l, (e->limits.age_us + 999) / 1000);
        redis_arg_number(l, e->limits.retain);
        redis_arg_number(l, e->limits.bytes);
        append_frames(l, m);
    } else {
        redis_arg_piece(l, (struct text){m->frames, m->len});
    }
    e->count = m->count;
    message_drop(e->message);
    e->message = NULL;
    e->carrier = s;
    /* Nobody hears of it, but who is told to wait for room. */
    bool unhurried = !e->counted && !mailbox_crowded(&c->box, c->route->crowded / 4);
    if (!(unhurried ? redis_send_unhurried : redis_send)(l, published, e))
        cluster_return(c, e, ERRAND_UNAVAILABLE);
}

void cluster_publish(struct cluster *c, struct errand *e)
{
    struct shard *s = cluster_shard(c, e->name);
    if (!redis_link_is_up(s->commands)) {
        message_drop(e->message);
        cluster_return(c, e, ERRAND_UNAVAILABLE);
    } else if (redis_link_full(s->commands) || s->waiting_first) {
        e->behind = NULL;
        if (s->waiting_last)
            s->waiting_last->behind = e;
        else
            s->waiting_first = e;
        s->waiting_last = e;
    } else {
        transmit(s, e);
    }
}

static struct errand *take_waiting(struct shard *s)
{
    struct errand *e = s->waiting_first;
    s->waiting_first = e->behind;
    if (!s->waiting_first)
        s->waiting_last = NULL;
    return e;
}

void cluster_publish_waiting(struct shard *s)
{
    while (s->waiting_first && !redis_link_full(s->commands))
        transmit(s, take_waiting(s));
}

void cluster_publish_fail_waiting(struct shard *s)
{
    while (s->waiting_first) {
        struct errand *e = take_waiting(s);
        message_drop(e->message);
        cluster_return(s->cluster, e, ERRAND_UNAVAILABLE);
    }
}

/* --- joins and leaves ------------------------------------------------------------------------- */

static void ignore(const struct resp *answer, void *user)
{
    (void)answer;
    (void)user;
}

static void publish_on(struct redis_link *l, struct text channel, struct text name,
    const struct payload *p, const struct message *m)
{
    char place[PAYLOAD_PLACE];
    char head[PAYLOAD_HEAD];
    hex_write(p->epoch, place);
    hex_write(p->offset, place + HEX_DIGITS);
    payload_head(p, head);
    redis_begin(l, 3);
    redis_arg(l, TEXT("PUBLISH"));
    cluster_arg(l, channel, name);
    redis_arg_begin(l, sizeof place + sizeof head + p->topic.len + m->len);
    redis_arg_piece(l, (struct text){place, sizeof place});
    redis_arg_piece(l, (struct text){head, sizeof head});
    redis_arg_piece(l, p->topic);
    redis_arg_piece(l, (struct text){m->frames, m->len});
    redis_send_unhurried(l, ignore, NULL);
}

void cluster_publish_event(struct cluster *c, struct errand *e)
{
    struct shard *s = cluster_shard(c, e->name);
    struct payload p = {.kind = PAYLOAD_EVENT,
        .epoch = c->node,
        .offset = ++c->events,
        .except = e->message->except,
        .topic = e->name};
    if (redis_link_is_up(s->commands) && !redis_link_full(s->commands)) {
        publish_on(s->commands, TEXT("hermes:w:"), e->name, &p, e->message);
        publish_on(s->commands, TEXT("hermes:wp:"), TEXT(""), &p, e->message);
        publish_on(s->commands, TEXT("hermes:wp:"), first_segment(e->name), &p, e->message);
    }
    message_drop(e->message);
    cluster_return(c, e, ERRAND_DONE);
}
