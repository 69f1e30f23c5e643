/* Making sure that nothing is missing between what a topic's subscribers here have had and what
 * comes now; or saying what is. */
#include <stdlib.h>
#include <string.h>

#include "broker/relay.h"
#include "cluster/followed.h"
#include "cluster/scripts.h"
#include "proto/json.h"
#include "proto/reply2.h"

/* HELD_BYTES: of all topics together. PIECE, PIECE_MESSAGES: fetched at once. */
enum { HELD_BYTES = 16 << 20, PIECE = 256 * 1024, PIECE_MESSAGES = 2000 };

/* --- messages that wait ----------------------------------------------------------------------- */

static size_t held_weight(const struct message *m)
{
    return sizeof(struct held) + message_weight(m);
}

void followed_hold(struct followed *f, uint64_t epoch, struct message *m)
{
    struct cluster *c = f->shard->cluster;
    struct held *h = c->held < HELD_BYTES ? malloc(sizeof *h) : NULL;
    if (!h) {
        f->again = true;
        message_drop(m);
        return;
    }
    *h = (struct held){.epoch = epoch, .message = m};
    if (f->held_last)
        f->held_last->next = h;
    else
        f->held_first = h;
    f->held_last = h;
    c->held += held_weight(m);
}

static void drop_first(struct followed *f)
{
    struct held *h = f->held_first;
    f->held_first = h->next;
    if (!f->held_first)
        f->held_last = NULL;
    f->shard->cluster->held -= held_weight(h->message);
    message_drop(h->message);
    free(h);
}

void followed_drop_held(struct followed *f)
{
    while (f->held_first)
        drop_first(f);
}

/* The offset of the first held message behind `offset`; 0: there is none. */
static uint64_t next_held(const struct followed *f, uint64_t epoch, uint64_t offset)
{
    for (const struct held *h = f->held_first; h; h = h->next)
        if (h->epoch == epoch && h->message->offset + h->message->count - 1 > offset)
            return h->message->offset;
    return 0;
}

/* --- telling of what is missing --------------------------------------------------------------- */

/* `epoch` 0: it is still the same one. `to` less than `from`: nothing is known to be missing. False
 * when there is no memory. */
static bool tell_gap(struct followed *f, uint64_t epoch, uint64_t from, uint64_t to)
{
    struct cluster *c = f->shard->cluster;
    struct buf topic = {0};
    struct buf frame = {0};
    bool told = false;
    json_string_append(&topic, followed_name(f));
    if (epoch)
        reply2_gap_anew(&frame, buf_text(&topic), epoch, from, to);
    else
        reply2_gap(&frame, buf_text(&topic), from, to);
    struct message *m = topic.failed || frame.failed ? NULL : message_begin(frame.len);
    if (m) {
        memcpy(m->frames, frame.data, frame.len);
        m->len = (uint32_t)frame.len;
        m->event = EVENT_GAP;
        m->lost = to >= from;
        told = route_tell(c->route, f->hash, followed_name(f), m);
        message_drop(m);
    }
    if (told && to >= from)
        metric_add(&c->metrics, METRIC_cluster_missed_total, (int64_t)(to - from + 1));
    buf_fini(&topic);
    buf_fini(&frame);
    return told;
}

/* --- fetching what was missed ----------------------------------------------------------------- */

/* Thousands of topics may miss something at once: their turns are fetch.c's to give. */

struct request {
    struct shard *shard;
    unsigned round;
    struct followed *topic;
};

static void fetched(const struct resp *answer, void *user);

static void await_turn(struct followed *f, uint64_t to)
{
    list_remove(&f->queue);
    f->state = FOLLOW_FETCHING;
    f->offset = to;
    list_append(&f->shard->missing, &f->queue);
}

static bool fetch(struct followed *f, uint64_t from, uint64_t to)
{
    struct shard *s = f->shard;
    struct route_rule rule = cluster_rule(s->cluster, followed_name(f));
    struct request *r = malloc(sizeof *r);
    if (!r)
        return false;
    *r = (struct request){.shard = s, .round = s->round, .topic = f};
    uint64_t most = to - from + 1;
    f->offset = to;
    s->fetches++;
    if (fetch_send(s, followed_name(f), from,
            (uint32_t)(most < PIECE_MESSAGES ? most : PIECE_MESSAGES), PIECE, rule.rule->history,
            fetched, r))
        return true;
    s->fetches--;
    free(r);
    return false;
}

/* Gives up what cannot be had. False when there is no memory to say so: then it begins again. */
static bool skip(struct followed *f, uint64_t epoch, uint64_t from, uint64_t to)
{
    if (!tell_gap(f, 0, from, to)) {
        followed_ask(f);
        return false;
    }
    route_renumber(f->shard->cluster->route, f->hash, followed_name(f), epoch, to);
    return true;
}

/* Up to where messages are missing: up to f->offset, or to where they are held. */
static uint64_t missing_to(const struct followed *f, const struct relay_place *place)
{
    uint64_t held = next_held(f, place->epoch, place->offset);
    return held && held - 1 < f->offset ? held - 1 : f->offset;
}

/* Sees to what is missing. */
static void fill(struct followed *f)
{
    struct cluster *c = f->shard->cluster;
    struct relay_place place;
    if (!route_place(c->route, f->hash, followed_name(f), &place))
        return;
    uint64_t to = missing_to(f, &place);
    if (to > place.offset) {
        if (cluster_rule(c, followed_name(f)).rule->history.messages > 0) {
            await_turn(f, to);
            return;
        }
        if (!skip(f, place.epoch, place.offset + 1, to))
            return;
    }
    followed_go_live(f);
}

void followed_fetch(struct followed *f)
{
    struct shard *s = f->shard;
    struct relay_place place;
    list_remove(&f->queue);
    if (!redis_link_is_up(s->commands) ||
        !route_place(s->cluster->route, f->hash, followed_name(f), &place)) {
        followed_ask(f);
        return;
    }
    uint64_t to = missing_to(f, &place);
    if (to > place.offset && fetch(f, place.offset + 1, to))
        return;
    if (to <= place.offset || skip(f, place.epoch, place.offset + 1, to))
        followed_go_live(f);
}

/* False when there is no memory. */
static bool give(struct followed *f, const struct fetched *got)
{
    size_t len = 0;
    for (size_t i = 0; i < got->count; i++)
        len += got->frames[i].text.len;
    struct message *m = message_begin(len);
    if (!m)
        return false;
    for (size_t i = 0; i < got->count; i++) {
        memcpy(m->frames + m->len, got->frames[i].text.at, got->frames[i].text.len);
        m->len += (uint32_t)got->frames[i].text.len;
    }
    m->count = (uint32_t)got->count;
    m->offset = got->first;
    enum relay_result result =
        followed_relay(f->shard->cluster, f, f->hash, followed_name(f), got->epoch, m);
    message_drop(m);
    return result != RELAY_NO_MEMORY;
}

static void take(struct followed *f, const struct resp *answer)
{
    struct cluster *c = f->shard->cluster;
    struct fetched got = fetch_read(answer);
    struct relay_place place;
    if (fetch_comes_again(answer) || !route_place(c->route, f->hash, followed_name(f), &place)) {
        followed_ask(f);
        return;
    }
    if (!got.failed && got.epoch != place.epoch) {
        followed_ask(f);
        return;
    }
    uint64_t to = missing_to(f, &place);
    if (got.failed || got.count == 0 || got.first > to) {
        if (to <= place.offset || skip(f, place.epoch, place.offset + 1, to))
            followed_go_live(f);
        return;
    }
    if (got.first > place.offset + 1 && !skip(f, place.epoch, place.offset + 1, got.first - 1))
        return;
    uint64_t last = got.first + got.count - 1;
    if (!give(f, &got) && !skip(f, place.epoch, got.first, last < to ? last : to))
        return;
    fill(f);
}

static void fetched(const struct resp *answer, void *user)
{
    struct request *r = user;
    struct shard *s = r->shard;
    struct followed *f = r->topic;
    bool current = r->round == s->round && redis_link_is_up(s->subscriber);
    free(r);
    s->fetches--;
    if (current) /* or the topic may be gone; if not, all of this is done again */
        take(f, answer);
    cluster_fetch_waiting(s);
}

/* --- positions -------------------------------------------------------------------------------- */

static void renewed(const struct resp *answer, void *user)
{
    struct request *r = user;
    struct shard *s = r->shard;
    struct followed *f = r->topic;
    bool current = r->round == s->round && redis_link_is_up(s->subscriber);
    free(r);
    (void)answer; /* whatever it is: */
    if (current)
        followed_ask(f);
}

/* Redis has lost what it had numbered. */
static void renew(struct followed *f, const struct relay_place *place)
{
    struct shard *s = f->shard;
    struct redis_link *l = s->commands;
    struct request *r = malloc(sizeof *r);
    char before[HEX_DIGITS];
    struct epoch_argument epoch = cluster_epoch(s);
    if (!r || !redis_link_is_up(l)) {
        free(r);
        followed_ask(f);
        return;
    }
    *r = (struct request){.shard = s, .round = s->round, .topic = f};
    hex_write(place->epoch, before);
    f->state = FOLLOW_FETCHING;
    redis_begin(l, 3 + 2 + 4);
    redis_arg(l, TEXT("EVALSHA"));
    redis_arg(l, redis_script(l, SCRIPT_RENEW));
    redis_arg_number(l, 2);
    cluster_arg(l, TEXT("hermes:t:"), followed_name(f));
    cluster_arg(l, TEXT("hermes:h:"), followed_name(f));
    redis_arg(l, (struct text){before, sizeof before});
    redis_arg_number(l, f->overtaken ? UINT64_MAX : place->offset);
    redis_arg(l, epoch_argument_text(&epoch));
    redis_arg(l, TEXT(IDLE_MS));
    if (!redis_send(l, renewed, r)) {
        free(r);
        followed_ask(f);
    }
}

void followed_go_live(struct followed *f)
{
    struct cluster *c = f->shard->cluster;
    struct relay_place place;
    f->state = FOLLOW_LIVE;
    while (f->held_first) {
        struct held *h = f->held_first;
        enum relay_result result =
            followed_relay(c, f, f->hash, followed_name(f), h->epoch, h->message);
        if (result == RELAY_HOLE && h->epoch == f->epoch) {
            followed_ask(f); /* something was thrown away before it */
            return;
        }
        f->again |= result == RELAY_HOLE; /* an epoch that has ended, or has begun since */
        drop_first(f);
    }
    if (route_place(c->route, f->hash, followed_name(f), &place))
        followed_came_to(f, place.epoch, place.offset);
    if (f->again) {
        f->again = false;
        followed_ask(f);
    }
    followed_ready(f);
}

/* It was not live yet. */
static void begin(struct followed *f)
{
    struct cluster *c = f->shard->cluster;
    struct text name = followed_name(f);
    if (f->seen_epoch == f->epoch && f->seen > f->offset)
        f->offset = f->seen;
    if (!route_follow(c->route, cluster_rule(c, name), f->hash, name, f->epoch, f->offset)) {
        followed_answer(f, ERRAND_NO_MEMORY);
        followed_ask(f);
        return;
    }
    f->live = true;
    followed_go_live(f);
}

static void confirm_again(struct followed *f)
{
    list_remove(&f->queue);
    f->state = FOLLOW_SETTLING;
    list_append(&f->shard->settling, &f->queue);
}

enum { TAKEOVER = HEX_DIGITS + RUN_DIGITS };

/* 0: it is not known. */
static uint64_t run_read(struct text digits)
{
    uint64_t run;
    return digits.len == RUN_DIGITS && hex_read(digits, &run) ? run : 0;
}

static uint64_t taker(struct text takeovers, size_t i)
{
    return run_read((struct text){takeovers.at + i * TAKEOVER + HEX_DIGITS, RUN_DIGITS});
}

/* The greatest offset that was given once only since the topic's position was asked for the last
 * time: where the first run took over that had not done so by then. A run that publishes nothing
 * does not take over. */
static uint64_t given_once(const struct followed *f, struct text takeovers)
{
    size_t count = takeovers.len / TAKEOVER;
    size_t next = count;
    uint64_t offset;
    while (next > 0) {
        uint64_t run = taker(takeovers, next - 1);
        if (run == f->run || run == f->writer)
            break;
        next--;
    }
    if (next == count ||
        !hex_read((struct text){takeovers.at + next * TAKEOVER, HEX_DIGITS}, &offset))
        return UINT64_MAX;
    return offset;
}

void followed_positioned(struct followed *f, uint64_t epoch, uint64_t offset, struct text takeovers)
{
    struct relay_place place = {0};
    bool there =
        f->live && route_place(f->shard->cluster->route, f->hash, followed_name(f), &place);
    bool same = there && place.epoch == epoch;
    f->overtaken = same && place.offset > given_once(f, takeovers);
    /* Or it is found again until it has been seen to. */
    if (!f->overtaken && !(same && place.offset > offset)) {
        f->run = run_read(redis_link_run(f->shard->commands));
        f->writer = takeovers.len >= TAKEOVER ? taker(takeovers, takeovers.len / TAKEOVER - 1) : 0;
    }
    f->epoch = epoch;
    f->offset = offset;
    if (!f->live) {
        /* What patterns are owed of it must not be overtaken. */
        if (pattern_channels_cover(f->shard, followed_name(f)))
            confirm_again(f);
        else
            begin(f);
        return;
    }
    counts_again(&f->shard->cluster->counts, &f->counted);
    if (same && place.offset == offset && !f->overtaken)
        followed_go_live(f);
    else /* what is between may have been published already and be on its way */
        confirm_again(f);
}

void followed_settle(struct followed *f)
{
    struct cluster *c = f->shard->cluster;
    struct relay_place place;
    if (!f->live) {
        begin(f);
        return;
    }
    if (!route_place(c->route, f->hash, followed_name(f), &place)) {
        f->live = false; /* cannot be: nothing else ends it */
        followed_ask(f);
        return;
    }
    if (place.epoch == f->epoch && (place.offset > f->offset || f->overtaken)) {
        renew(f, &place);
        return;
    }
    if (place.epoch != f->epoch) {
        bool kept = cluster_rule(c, followed_name(f)).rule->history.messages > 0;
        uint64_t held = next_held(f, f->epoch, 0);
        uint64_t to = held && held - 1 < f->offset ? held - 1 : f->offset;
        LOG_LIMITED(c->settings.logger, LIMIT_CLUSTER, LOG_WARN, "a topic's offsets start anew",
            LOG_TEXT("topic", followed_name(f)), LOG_NUMBER("offset", f->offset));
        if (!tell_gap(f, f->epoch, 1, kept ? 0 : to)) {
            followed_ask(f);
            return;
        }
        route_renumber(c->route, f->hash, followed_name(f), f->epoch, kept ? 0 : to);
    }
    fill(f);
}
