#include "broker/rules.h"

#include <stdlib.h>
#include <string.h>

#include "broker/pattern.h"

const struct rule rule_default = {
    .match = {">", 1},
    .presence = true,
    .policy = POLICY_DISCONNECT,
    .publish = ACCESS_EVERYONE,
    .subscribe = ACCESS_EVERYONE,
};

/* The start of a pattern up to its first wildcard, which a topic must begin with. */
static size_t literal(struct text pattern)
{
    size_t at = 0;
    while (at < pattern.len && pattern.at[at] != '*' && pattern.at[at] != '>')
        at++;
    return at;
}

/* Of all brokers of the process: what is newer is told by it, wherever it was made. */
static uint32_t next_version(void)
{
    static _Atomic uint32_t last;
    return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

struct rules *rules_new(struct rule *list, size_t count)
{
    struct rules *rules = malloc(sizeof *rules);
    if (!rules)
        return NULL;
    atomic_init(&rules->references, 1);
    rules->version = next_version();
    rules->count = count;
    rules->list = list;
    for (size_t i = 0; i < count; i++)
        list[i].literal = literal(list[i].match);
    return rules;
}

void rules_hold(struct rules *rules)
{
    atomic_fetch_add_explicit(&rules->references, 1, memory_order_relaxed);
}

void rules_list_free(struct rule *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free((void *)(uintptr_t)list[i].match.at);
    free(list);
}

void rules_drop(struct rules *rules)
{
    if (!rules || atomic_fetch_sub_explicit(&rules->references, 1, memory_order_acq_rel) != 1)
        return;
    rules_list_free(rules->list, rules->count);
    free(rules);
}

const struct rule *rules_find(const struct rules *rules, struct text topic)
{
    if (!rules)
        return &rule_default;
    for (size_t i = 0; i < rules->count; i++) {
        const struct rule *r = &rules->list[i];
        if (topic.len < r->literal || memcmp(topic.at, r->match.at, r->literal) != 0)
            continue;
        if (r->literal == r->match.len) {
            if (topic.len == r->literal)
                return r;
        } else if (pattern_matches(r->match, topic)) {
            return r;
        }
    }
    return &rule_default;
}

/* --- the box ---------------------------------------------------------------------------------- */

void rules_box_init(struct rules_box *box)
{
    lock_init(&box->lock, LOCK_RULES);
    box->rules = NULL;
}

void rules_box_fini(struct rules_box *box)
{
    rules_drop(box->rules);
    box->rules = NULL;
    lock_fini(&box->lock);
}

struct rules *rules_box_take(struct rules_box *box)
{
    lock_take(&box->lock);
    struct rules *rules = box->rules;
    if (rules)
        rules_hold(rules);
    lock_give(&box->lock);
    return rules;
}

void rules_box_put(struct rules_box *box, struct rules *rules)
{
    lock_take(&box->lock);
    struct rules *before = box->rules;
    box->rules = rules;
    lock_give(&box->lock);
    rules_drop(before);
}
