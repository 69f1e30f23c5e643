#include "broker/past.h"

#include "base/clock.h"

/* Whether all messages behind what the client has are still kept, or there are none. What is kept
 * has no gap and goes up to the newest. */
static bool is_gapless(
    const struct registry_topic *topic, const struct history *h, const struct route_past *past)
{
    if (past->epoch != topic->epoch || past->offset > topic->offset)
        return false;
    return past->offset == topic->offset || (h && h->count > 0 && h->oldest <= past->offset + 1);
}

struct history_view past_view(
    struct search *s, const struct route_past *past, bool strict, uint32_t most, bool *recovered)
{
    struct kept *kept = s->topic->kept;
    struct history *history = kept ? &kept->history : NULL;
    *recovered = false;
    if (history)
        history_expire(history, clock_ns() / 1000);
    if (!past->since)
        return history_view(history, 0, past->newest, true);
    *recovered = is_gapless(s->topic, history, past);
    if (strict && !*recovered)
        return history_view(NULL, 0, 0, false);
    uint64_t from = past->epoch == s->topic->epoch ? past->offset + 1 : 0;
    return history_view(history, from, most, false);
}

struct route_state route_history(struct route *r, struct route_rule rule, uint64_t hash,
    struct text topic, const struct route_past *past, uint32_t most)
{
    struct route_state state = {.keeps = rule.rule->history.messages > 0};
    struct search s = {.route = r, .rule = rule, .hash = hash, .name = topic};
    search_plain(&s);
    if (s.topic) {
        if (s.topic->kept)
            search_apply_rule(&s);
        state.keeps |= s.topic->kept != NULL;
        state.epoch = s.topic->epoch;
        state.offset = s.topic->offset;
        if (past)
            state.past = past_view(&s, past, false, most, &state.recovered);
    }
    search_end(&s);
    return state;
}
