#include "broker/past.h"

#include "base/clock.h"

/* Whether all messages behind what the client has are in the view, or none are missing. */
static bool is_gapless(
    const struct registry_topic *topic, const struct route_past *past, const struct history_view *v)
{
    if (past->epoch != topic->epoch || past->offset > topic->offset)
        return false;
    return past->offset == topic->offset ||
           (v->first == past->offset + 1 && v->last == topic->offset);
}

struct history_view past_view(
    struct search *s, const struct route_past *past, bool strict, uint32_t most, bool *recovered)
{
    struct kept *kept = s->topic->kept;
    struct history *history = kept ? &kept->history : NULL;
    struct history_view none = history_view(NULL, 0, 0, false);
    *recovered = false;
    if (history)
        history_expire(history, clock_ns() / 1000);
    if (!past->since)
        return history_view(history, 0, past->newest, true);
    if (past->epoch != s->topic->epoch && strict)
        return none;
    uint64_t from = past->epoch == s->topic->epoch ? past->offset + 1 : 0;
    struct history_view whole = history_view(history, from, UINT32_MAX, false);
    *recovered = is_gapless(s->topic, past, &whole);
    if (strict && !*recovered) {
        history_view_fini(&whole);
        return none;
    }
    if (most == UINT32_MAX)
        return whole;
    history_view_fini(&whole);
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
