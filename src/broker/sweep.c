#include "broker/sweep.h"

#include "base/clock.h"

enum {
    SLICE = 512,       /* topics that one sweep of a stripe looks at, of each kind */
    QUIET_SWEEPS = 30, /* without a message, until a topic that only patterns keep is gone */
};

/* Whether nobody subscribes by name and nothing is kept. */
static bool is_transient(const struct registry_topic *topic)
{
    return topic->subscribers == 0 && !topic->live &&
           (!topic->kept || topic->kept->history.count == 0);
}

void sweep_transients(struct registry *r, struct stripe *stripe, unsigned most, uint32_t quiet)
{
    struct registry_topic *gone[SLICE];
    struct registry_topic *topic = NULL;
    size_t count = 0;
    for (; most > 0 && (topic = map_next(&stripe->topics, &stripe->swept)) != NULL; most--)
        if (is_transient(topic) && topic->quiet++ >= quiet && count < SLICE)
            gone[count++] = topic;
    if (!topic)
        stripe->swept = 0;
    while (count > 0) {
        topic = gone[--count];
        match_set_drop(topic->matches);
        topic->matches = NULL;
        registry_release(r, stripe, topic);
    }
}

static void sweep_kept(
    struct route *r, const struct rules *rules, struct stripe *stripe) NO_THREAD_SAFETY_ANALYSIS
{
    struct registry *registry = &r->registry;
    struct keepers *k = &stripe->keepers;
    uint64_t now_us = clock_ns() / 1000;
    uint32_t at = stripe->swept_kept < k->count ? stripe->swept_kept : 0;
    for (unsigned i = 0; i < SLICE && at < k->count; i++) {
        struct kept *kept = k->list[at];
        struct registry_topic *topic = kept->topic;
        if (kept->version < rules_version(rules)) {
            const struct rule *rule = rules_find(rules, registry_name(registry, topic));
            registry_keep(registry, stripe, topic, rule->history, rules_version(rules), now_us);
        } else {
            history_expire(&kept->history, now_us);
            if (kept->history.count == 0)
                registry_keep(registry, stripe, topic, (struct history_limits){0}, 0, now_us);
        }
        registry_release(registry, stripe, topic);
        /* One that is gone has left its place to another. */
        if (at < k->count && k->list[at] == kept)
            at++;
    }
    stripe->swept_kept = at;
}

bool route_sweep(
    struct route *r, const struct rules *rules, unsigned stripe_index) NO_THREAD_SAFETY_ANALYSIS
{
    struct stripe *stripe = &r->registry.stripes[stripe_index];
    lock_take(&stripe->lock);
    if (stripe->keepers.count > 0)
        sweep_kept(r, rules, stripe);
    if (stripe->transients > 0)
        sweep_transients(
            &r->registry, stripe, SLICE, patterns_used(&r->patterns) ? QUIET_SWEEPS : 0);
    bool more = stripe->keepers.count > 0 || stripe->transients > 0;
    lock_give(&stripe->lock);
    return more;
}
