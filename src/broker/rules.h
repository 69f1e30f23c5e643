/* What the rules file says about topics: the first rule whose pattern matches a topic is its rule.
 *
 * Ownership: counted; immutable once made.
 * Threads: any. Lock: RULES, for the box alone; nothing is taken under it. */
#ifndef HERMES_BROKER_RULES_H
#define HERMES_BROKER_RULES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "broker/history.h"
#include "loop/lock.h"

/* What happens to a subscription whose subscriber is too slow. */
enum policy {
    POLICY_DISCONNECT,
    POLICY_DROP_OLDEST,
    POLICY_LATEST,
};

enum access {
    ACCESS_EVERYONE,
    ACCESS_AUTHENTICATED,
    ACCESS_TOKEN,
    ACCESS_NOBODY,
};

struct rule {
    struct text match; /* a good pattern */
    struct history_limits history;
    bool presence;
    bool local; /* in a cluster: numbered and delivered by this broker alone */
    enum policy policy;
    enum access publish;
    enum access subscribe;
    size_t max_bytes; /* of a message's data; 0: WS_MAX_MESSAGE_BYTES alone counts */
    size_t literal;   /* of `match`, before its first wildcard; set by rules_new */
};

struct rules {
    _Atomic uint32_t references;
    uint32_t version; /* of newer ones, in this process, it is greater; 0: of no rules at all */
    size_t count;
    struct rule *list;
};

/* What holds for a topic that no rule matches: everyone may do everything, nothing is kept. */
extern const struct rule rule_default;

/* Takes the list over, and the texts in it, which free() frees one by one. NULL when there is no
 * memory: they stay the caller's. */
struct rules *rules_new(struct rule *list, size_t count);
void rules_list_free(struct rule *list, size_t count); /* as rules_drop would */
void rules_hold(struct rules *rules);
void rules_drop(struct rules *rules); /* NULL is ignored */

/* The rule for a topic; `rules` may be NULL. Valid while the rules are held. */
const struct rule *rules_find(const struct rules *rules, struct text topic);

static inline uint32_t rules_version(const struct rules *rules)
{
    return rules ? rules->version : 0;
}

/* The rules that are in force, for whoever does not keep a reference of its own. */
struct rules_box {
    struct lock lock;
    struct rules *rules GUARDED_BY(lock); /* NULL: none */
};

void rules_box_init(struct rules_box *box);
void rules_box_fini(struct rules_box *box);

/* With a reference; may be NULL. */
struct rules *rules_box_take(struct rules_box *box);

/* Takes the caller's reference. */
void rules_box_put(struct rules_box *box, struct rules *rules);

#endif
