#include "broker/topic_facts.h"

#include "base/clock.h"
#include "broker/search.h"
#include "broker/topic_list.h"

static void look_at_history(struct topic_facts *facts, struct history *history)
{
    history_expire(history, clock_ns() / 1000);
    facts->messages = history->count;
    facts->bytes = history->bytes;
    facts->first = history->count > 0 ? history->oldest : 0;
}

bool topic_facts_take(
    struct topic_facts *facts, struct route *r, struct route_rule rule, struct text topic)
{
    struct search s = {
        .route = r, .rule = rule, .hash = registry_hash(&r->registry, topic), .name = topic};
    *facts = (struct topic_facts){.keeps = rule.rule->history.messages > 0};
    if (!search_begin(&s))
        return false;
    if (s.topic) {
        search_keep(&s);
        facts->epoch = s.topic->epoch;
        facts->offset = s.topic->offset;
        facts->keeps |= s.topic->kept != NULL;
        if (s.topic->kept) {
            search_apply_rule(&s);
            if (s.topic->kept)
                look_at_history(facts, &s.topic->kept->history);
        }
        facts->active = topic_is_active(s.topic, &facts->subscribers);
        facts->matches = search_matches(&s);
        if (facts->matches)
            match_set_hold(facts->matches);
    }
    search_end(&s);
    return true;
}

void topic_facts_fini(struct topic_facts *facts)
{
    match_set_drop(facts->matches);
    facts->matches = NULL;
}
