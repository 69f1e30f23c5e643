#include "broker/search.h"

#include "base/clock.h"
#include "broker/sweep.h"

/* Patterns that a topic remembers. To ask again is not much dearer than to go through more, and
 * strangers could make a great many topics remember a great many. */
enum { KEPT_MATCHES = 64 };

/* A topic that not everyone may subscribe to is not for patterns. */
static bool by_pattern(const struct search *s)
{
    return patterns_used(&s->route->patterns) && s->rule.rule->subscribe == ACCESS_EVERYONE;
}

void search_plain(struct search *s) NO_THREAD_SAFETY_ANALYSIS
{
    struct registry *registry = &s->route->registry;
    s->stripe = registry_stripe(registry, s->hash);
    lock_take(&s->stripe->lock);
    s->topic = registry_find(registry, s->stripe, s->hash, s->name);
}

static void forget(struct search *s)
{
    match_set_drop(s->fresh);
    s->fresh = NULL;
    s->generation = 0;
}

/* The index of the patterns is not asked under the stripe. So what it has said may be out of date
 * when the stripe is taken again, and a later message of the topic may already have gone to a
 * pattern that is newer than that: then it is asked again. */
bool search_begin(struct search *s) NO_THREAD_SAFETY_ANALYSIS
{
    struct patterns *patterns = &s->route->patterns;
    for (;;) {
        search_plain(s);
        if (!by_pattern(s))
            return true;
        uint64_t now = patterns_generation(patterns);
        if (s->topic && s->topic->generation == now) {
            forget(s);
            return true;
        }
        if (s->generation == now)
            return true;
        lock_give(&s->stripe->lock);
        forget(s);
        if (!patterns_match(patterns, s->name, &s->fresh, &s->generation))
            return false;
    }
}

bool search_make(struct search *s) NO_THREAD_SAFETY_ANALYSIS
{
    struct registry *registry = &s->route->registry;
    if (s->stripe->transients > SWEEP_CROWDED)
        sweep_transients(registry, s->stripe, SWEEP_FOR_NEW, 1);
    s->topic = registry_make(registry, s->stripe, s->hash, s->name);
    return s->topic != NULL;
}

void search_keep(struct search *s)
{
    struct registry_topic *topic = s->topic;
    if (s->generation == 0)
        return; /* not asked */
    match_set_drop(topic->matches);
    topic->matches = NULL;
    topic->generation = 0;
    if (s->fresh && s->fresh->count > KEPT_MATCHES)
        return;
    topic->matches = s->fresh;
    topic->generation = s->generation;
    s->fresh = NULL;
    s->generation = 0;
}

struct match_set *search_matches(const struct search *s)
{
    if (!by_pattern(s))
        return NULL;
    return s->generation != 0 ? s->fresh : s->topic ? s->topic->matches : NULL;
}

void search_end(struct search *s) NO_THREAD_SAFETY_ANALYSIS
{
    lock_give(&s->stripe->lock);
    match_set_drop(s->fresh);
}

void search_apply_rule(struct search *s) NO_THREAD_SAFETY_ANALYSIS
{
    const struct kept *kept = s->topic->kept;
    const struct history_limits *limits = &s->rule.rule->history;
    if (kept ? kept->version < s->rule.version : limits->messages > 0)
        registry_keep(
            &s->route->registry, s->stripe, s->topic, *limits, s->rule.version, clock_ns() / 1000);
}
