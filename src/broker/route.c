#include "broker/route.h"

#include "broker/backplane.h"
#include "broker/past.h"
#include "broker/post.h"
#include "broker/search.h"

void route_init(struct route *r, unsigned workers, size_t history_bytes)
{
    registry_init(&r->registry, workers, history_bytes);
    patterns_init(&r->patterns, workers);
}

void route_fini(struct route *r)
{
    registry_fini(&r->registry);
    patterns_fini(&r->patterns);
}

static uint32_t subscribers(const struct search *s, const struct match_set *matches)
{
    uint32_t sum = s->topic ? s->topic->subscribers : 0;
    for (uint32_t i = 0; matches && i < matches->count; i++)
        sum += atomic_load_explicit(&matches->patterns[i]->subscribers, memory_order_relaxed);
    return sum;
}

struct route_result route_publish(struct route *r, struct route_rule rule, uint64_t hash,
    struct text topic, struct message *m) NO_THREAD_SAFETY_ANALYSIS
{
    struct route_result result = {.crowded = -1};
    struct post_workers asleep = {{0}};
    struct search s = {.route = r, .rule = rule, .hash = hash, .name = topic};
    bool keeps = rule.rule->history.messages > 0;
    if (!search_begin(&s)) {
        result.failed = true;
        message_drop(m);
        return result;
    }
    if (!s.topic && (s.fresh || keeps))
        result.failed = !search_make(&s);
    if (s.topic) {
        keeps |= s.topic->kept != NULL;
        search_apply_rule(&s);
        search_keep(&s);
        post_address(&s, m);
        s.topic->quiet = 0;
        m->offset = s.topic->offset + 1;
        result.offset = s.topic->offset += m->count;
        result.epoch = s.topic->epoch;
        result.subscribers = subscribers(&s, m->matches);
        if (s.topic->kept)
            post_keep(&s, m);
        result.crowded = post_all(&s, m, &asleep);
        if (result.subscribers == 0)
            registry_release(&r->registry, s.stripe, s.topic);
    }
    search_end(&s);
    post_wake(r, &asleep);
    if (keeps)
        registry_trim(&r->registry);
    message_drop(m);
    return result;
}

void route_event(
    struct route *r, struct route_rule rule, uint64_t hash, struct text topic, struct message *m)
{
    struct post_workers asleep = {{0}};
    struct search s = {.route = r, .rule = rule, .hash = hash, .name = topic};
    if (search_begin(&s)) {
        if (s.topic)
            search_keep(&s);
        post_address(&s, m);
        post_all(&s, m, &asleep);
        search_end(&s);
        post_wake(r, &asleep);
    }
    message_drop(m);
}

/* --- subscribing ------------------------------------------------------------------------------ */

struct route_joined route_subscribe(struct route *r, struct route_rule rule, unsigned worker,
    struct tray *tray, uint64_t hash, struct text topic, bool watches,
    const struct route_past *past) NO_THREAD_SAFETY_ANALYSIS
{
    struct route_joined joined = {.topic = NULL};
    struct search s = {.route = r, .rule = rule, .hash = hash, .name = topic};
    search_plain(&s);
    joined.absent = route_is_far(r, rule.rule) && !(s.topic && s.topic->live);
    joined.made = !s.topic && !joined.absent && search_make(&s);
    if (s.topic && !joined.absent) {
        registry_join(s.stripe, s.topic, worker, watches);
        if (s.topic->kept) /* nothing is kept for a subscriber's sake alone: that would cost */
            search_apply_rule(&s);
        mailbox_take(r->boxes[worker], tray);
        joined.topic = s.topic;
        joined.epoch = s.topic->epoch;
        joined.offset = s.topic->offset;
        if (past)
            joined.past = past_view(&s, past, true, UINT32_MAX, &joined.recovered);
    }
    search_end(&s);
    return joined;
}

struct route_joined route_again(
    struct route *r, unsigned worker, struct tray *tray, uint64_t hash, struct text topic)
{
    struct route_joined joined = {.topic = NULL};
    struct search s = {.route = r, .hash = hash, .name = topic};
    search_plain(&s);
    mailbox_take(r->boxes[worker], tray);
    joined.topic = s.topic;
    joined.epoch = s.topic->epoch;
    joined.offset = s.topic->offset;
    search_end(&s);
    return joined;
}

struct route_piece route_piece(struct route *r, struct route_rule rule, unsigned worker,
    struct tray *tray, uint64_t hash, struct text topic, uint64_t from, struct piece_limits limits)
{
    struct route_piece result;
    struct search s = {.route = r, .rule = rule, .hash = hash, .name = topic};
    search_plain(&s);
    if (s.topic->kept)
        search_apply_rule(&s);
    uint32_t most = (uint32_t)(limits.bytes / limits.around) + 1;
    result.view = history_view(s.topic->kept ? &s.topic->kept->history : NULL, from, most, false);
    result.epoch = s.topic->epoch;
    result.offset = s.topic->offset;
    uint64_t messages = result.view.last + 1 - result.view.first;
    result.last = messages < most && result.view.bytes + messages * limits.around <= limits.bytes;
    if (result.last)
        mailbox_take(r->boxes[worker], tray);
    search_end(&s);
    return result;
}

bool route_unsubscribe(
    struct route *r, unsigned worker, struct registry_topic *topic, bool last, bool watched)
{
    struct stripe *stripe = registry_stripe(&r->registry, topic->hash);
    lock_take(&stripe->lock);
    bool gone = registry_leave(&r->registry, stripe, topic, worker, last, watched);
    lock_give(&stripe->lock);
    return gone;
}

void route_watch(struct route *r, struct registry_topic *topic, int by)
{
    struct stripe *stripe = registry_stripe(&r->registry, topic->hash);
    lock_take(&stripe->lock);
    topic->watchers += (uint32_t)by;
    lock_give(&stripe->lock);
}

bool route_audience(struct route *r, struct route_rule rule, uint64_t hash, struct text topic,
    struct route_audience *audience)
{
    struct search s = {.route = r, .rule = rule, .hash = hash, .name = topic};
    *audience = (struct route_audience){.subscribers = 0};
    if (!search_begin(&s))
        return false;
    if (s.topic)
        search_keep(&s);
    struct match_set *matches = search_matches(&s);
    for (size_t word = 0; word < r->registry.worker_words; word++)
        audience->workers[word] = search_interest(&s, matches, word);
    audience->subscribers = subscribers(&s, matches);
    if (matches)
        match_set_hold(matches);
    audience->matches = matches;
    search_end(&s);
    return true;
}
